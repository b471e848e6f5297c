package serve

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

// shelved serves a directory of runs with the one run in dir, called "one".
func shelved(t *testing.T, rec *run.Recorder, dir string) *Server {
	cfg := config(rec, dir)
	cfg.Library = &Library{
		Runs:    func() (any, error) { return []string{"one"}, nil },
		Compare: func(a, b string) (any, error) { return nil, errors.New("there is no run " + a) },
		Open: func(id string) (string, *run.Feed, func(), error) {
			if id != "one" {
				return "", nil, nil, errors.New("there is no such run")
			}
			return dir, rec.Feed(), func() {}, nil
		},
		RunPage: page,
	}
	return open(t, cfg)
}

// traversals are request targets that would lead out of the run's directory, or
// to another file in it, were they taken for paths of files.
func traversals() []string {
	dots := []string{"..", "%2e%2e", ".%2e", "%252e%252e", "..;", "%c0%ae%c0%ae", "%uff0e%uff0e", "....", "..%00", ".%00."}
	slashes := []string{"/", "//", "%2f", "%252f", "\\", "%5c", "%c0%af", "/./"}
	var all []string
	for _, prefix := range []string{"/", "/telemetry.jsonl/", "/logs/"} {
		for _, dot := range dots {
			for _, slash := range slashes {
				all = append(all, prefix+strings.Repeat(dot+slash, 2)+"canary")
			}
		}
	}
	for _, name := range []string{"run.json", "rejected.jsonl", ".lock", "canary", ".", "..", ".git/config"} {
		all = append(all, "/"+name, "/./"+name, "//"+name, "/%2e/"+name, "/"+name+"%00", "/"+name+"/", "/telemetry.jsonl/../"+name, "/telemetry.jsonl%00/../"+name,
			"/?file="+name, "/files/"+name, "/files?name=../"+name, "/state?file=../"+name, "/\\"+name, "/"+strings.ToUpper(name), "file:///"+name)
	}
	return all
}

// No spelling of a path gives a file that is not to be served, or a listing.
func TestTraversal(t *testing.T) {
	rec, journaled := record(t)
	logs := t.TempDir()
	dir := filepath.Join(logs, "one")
	require.NoError(t, os.Rename(journaled, dir))
	require.NoError(t, os.Mkdir(journaled, 0o700)) // for the test to remove
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".git"), 0o700))
	for _, name := range []string{"canary", "one/canary", "one/run.json", "one/rejected.jsonl", "one/.lock", "one/.git/config"} {
		require.NoError(t, os.WriteFile(filepath.Join(logs, name), []byte("a canary sings"), 0o600))
	}
	finish(t, rec)
	targets := traversals()
	require.Greater(t, len(targets), 240)
	single, library := config(rec, dir), shelved(t, rec, dir)
	for name, s := range map[string]*Server{"a run": open(t, single), "runs": library} {
		prefixes := []string{""}
		if s == library {
			prefixes = []string{"", "/runs", "/runs/one", "/runs/.."}
		}
		t.Run(name, func(t *testing.T) {
			conn := dial(t, s)
			answers := bufio.NewReader(conn)
			for _, prefix := range prefixes {
				for _, target := range targets {
					if !strings.HasPrefix(target, "/") && prefix != "" {
						continue
					}
					_, err := io.WriteString(conn, "GET "+prefix+target+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+testToken+"\r\n\r\n")
					require.NoError(t, err)
					resp, err := http.ReadResponse(answers, nil)
					require.NoError(t, err, target)
					text := body(t, resp)
					assert.NotContains(t, text, "canary sings", target)
					assert.NotContains(t, text, ".lock", target)
					if location := resp.Header.Get("Location"); location != "" {
						name, ok := strings.CutSuffix(location, "/") // one name, relative to where it is
						assert.True(t, ok && !strings.ContainsAny(name, "/\\") && name != "." && name != ".." && name != "", "%q leads to %q", target, location)
					}
					if resp.StatusCode < 400 && resp.StatusCode != http.StatusSeeOther {
						// The path is one of the routes: only a query was odd.
						path, _, _ := strings.Cut(target, "?")
						assert.Contains(t, []string{"/", "/files", "/state", "/.", "//."}, path, target)
					}
					if resp.Close {
						conn = dial(t, s)
						answers = bufio.NewReader(conn)
					}
				}
			}
		})
	}
}

// Every route, of a run and of a directory of runs, answers nobody without the
// run's token, under a foreign name or who changes something.
func TestEveryRouteIsGuarded(t *testing.T) {
	rec, dir := record(t)
	finish(t, rec)
	single := []string{"/", "/events", "/state", "/samples", "/files", "/terminal.js", "/telemetry.jsonl", "/run_summary.json", "/terminal.cast", "/tool_calls.jsonl", "/v1/traces", "/nothing"}
	several := []string{"/", "/runs", "/compare?a=one&b=one", "/runs/one", "/nothing"}
	for _, path := range single {
		several = append(several, "/runs/one"+path)
	}
	cfg := config(rec, dir)
	cfg.Routes = []Route{{"POST", "/v1/traces", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { t.Error("reached") })}}
	cookie := "\r\nCookie: " + cookieName(testRun) + "="
	for s, paths := range map[*Server][]string{open(t, cfg): single, shelved(t, rec, dir): several} {
		for _, path := range paths {
			and := "?"
			if strings.Contains(path, "?") {
				and = "&"
			}
			for _, c := range []struct{ method, target, headers, want string }{
				{"GET", path, "localhost", "401"},
				{"HEAD", path, "localhost", "401"},
				{"GET", path, "localhost\r\nAuthorization: Bearer other", "401"},
				{"GET", path, "localhost" + cookie + "other", "401"},
				{"GET", path, "localhost\r\nCookie: obsrun_other-20260408-abc123=" + testToken, "401"},
				{"GET", path + and + "token=other", "localhost", "401"},
				{"POST", path, "localhost" + cookie + testToken, "401"},
				{"DELETE", path, "localhost" + cookie + testToken, "401"},
				{"GET", path, "evil.com" + cookie + testToken, "403"},
				{"GET", path, "evil.com\r\nAuthorization: Bearer " + testToken, "403"},
				{"GET", path + and + "token=" + testToken, "evil.com", "403"},
				{"POST", path, "evil.com\r\nAuthorization: Bearer " + testToken, "403"},
				{"GET", "http://evil.com" + path, "localhost\r\nAuthorization: Bearer " + testToken, "403"},
				{"GET", path, "127.0.0.1.evil.com\r\nX-Forwarded-Host: localhost\r\nForwarded: host=localhost\r\nAuthorization: Bearer " + testToken, "403"},
			} {
				answer := rawly(t, s, c.method+" "+c.target+" HTTP/1.1\r\nHost: "+c.headers+"\r\nConnection: close\r\n\r\n")
				assert.Equal(t, c.want, strings.Fields(answer)[1], "%s %s for %q", c.method, c.target, c.headers)
				assert.NotContains(t, answer, testToken)
			}
			for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS", "POST"} {
				if method == "POST" && path == "/v1/traces" {
					continue
				}
				assert.GreaterOrEqual(t, ask(t, s, method, path, "Origin: https://evil.com", "Content-Type: text/plain").StatusCode, 400, "%s %s", method, path)
			}
		}
	}
}
