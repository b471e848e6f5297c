package serve

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// ended records a short run and finishes it. It gives its lines.
func ended(t *testing.T) (*run.Recorder, string, []string) {
	t.Helper()
	rec, dir := record(t)
	tell(t, rec,
		start("a"), start("b"), update("a", 10),
		telemetry.Event{Type: telemetry.Log, Level: "warn", Message: "lines\nwithin\r\nit, and \u2028 \x00 </script>"},
		end("a"), end("b"))
	finish(t, rec)
	return rec, dir, journalLines(t, dir)
}

// assertLines says that got is the journal from line after on, and the end.
func assertLines(t *testing.T, lines []string, after int, got []message) {
	t.Helper()
	require.Len(t, got, len(lines)-after+1)
	for i, line := range lines[after:] {
		assert.Equal(t, message{id: strconv.Itoa(after + i + 1), data: line}, got[i])
	}
	assert.Equal(t, message{event: "end", data: "{}"}, got[len(got)-1])
}

func TestEventsOfEndedRun(t *testing.T) {
	rec, dir, lines := ended(t)
	s := open(t, config(rec, dir))
	n := len(lines)
	for name, test := range map[string]struct {
		path, id string
		after    int
	}{
		"from the first":   {"/events", "", 0},
		"after 0":          {"/events", "0", 0},
		"in the middle":    {"/events", "3", 3},
		"leading zeros":    {"/events", "003", 3},
		"before the last":  {"/events", strconv.Itoa(n - 1), n - 1},
		"at the end":       {"/events", strconv.Itoa(n), n},
		"beyond the end":   {"/events", strconv.Itoa(n + 1), 0},
		"far beyond":       {"/events", "99999999999999999999999", 0},
		"negative":         {"/events", "-1", 0},
		"signed":           {"/events", "+3", 0},
		"a word":           {"/events", "garbage", 0},
		"a fraction":       {"/events", "3.5", 0},
		"not ASCII":        {"/events", "３", 0},
		"8 kB":             {"/events", strings.Repeat("9", 8192), 0},
		"query":            {"/events?after=3", "", 3},
		"query, nonsense":  {"/events?after=x", "", 0},
		"query, empty":     {"/events?after=", "", 0},
		"header and query": {"/events?after=1", "4", 4},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if test.id != "" {
				headers = append(headers, "Last-Event-ID: "+test.id)
			}
			assertLines(t, lines, test.after, openStream(t, s, test.path, headers...).all(t))
		})
	}
	resp := ask(t, s, "HEAD", "/events")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Empty(t, body(t, resp))
	assert.Equal(t, "no", resp.Header.Get("X-Accel-Buffering"))
	assert.Contains(t, resp.Header.Get("Cache-Control"), "no-cache")
}

func TestEventsFollow(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	stream := openStream(t, s, "/events")
	assert.Equal(t, "1", stream.must(t).id)
	late := openStream(t, s, "/events", "Last-Event-ID: 1")
	for i := range 50 {
		tell(t, rec, start(fmt.Sprint("s", i)))
		assert.Contains(t, stream.must(t).data, fmt.Sprintf(`"s%d"`, i))
	}
	finish(t, rec)
	lines := journalLines(t, dir)
	assertLines(t, lines, 51, stream.all(t))
	assertLines(t, lines, 1, late.all(t))
}

// Another process writes the journal, as with "obsrun serve RUN".
func TestEventsOfFollowedRun(t *testing.T) {
	rec, dir := record(t)
	feed, stop, err := run.Follow(t.Context(), dir)
	require.NoError(t, err)
	defer stop()
	cfg := config(rec, dir)
	cfg.Feed = feed
	s := open(t, cfg)
	// The run's lock is not held here, so that it counts as killed.
	got := openStream(t, s, "/events").all(t)
	assertLines(t, journalLines(t, dir), 0, got)
}

func TestEventsLongLine(t *testing.T) {
	rec, dir := record(t)
	message := strings.Repeat("x", 1<<20-500)
	tell(t, rec, telemetry.Event{Type: telemetry.Log, Level: "info", Message: message}, start("after"))
	finish(t, rec)
	s := open(t, config(rec, dir))
	lines := journalLines(t, dir)
	require.Greater(t, len(lines[1]), 1<<20-600)
	assertLines(t, lines, 0, openStream(t, s, "/events").all(t))
}

// Somebody else wrote into the journal what obsrun does not.
func TestEventsOfForeignJournal(t *testing.T) {
	dir := t.TempDir()
	text := "{\"event\":\"log\",\r\"message\":\"a\"}\nno json\n\n{\"event\":\"log\",\"message\":\"b\"}\n{\"event\":\"to"
	require.NoError(t, os.WriteFile(filepath.Join(dir, journalFile.name), []byte(text), 0o600))
	feed, stop, err := run.Follow(t.Context(), dir)
	require.NoError(t, err)
	defer stop()
	s := open(t, Config{RunID: testRun, Dir: dir, Feed: feed, Page: page, Token: testToken, Listen: "127.0.0.1:0"})
	got := openStream(t, s, "/events").all(t)
	assert.Equal(t, []message{
		{id: "1", data: `{"event":"log", "message":"a"}`}, {id: "2", data: "no json"}, {id: "3"},
		{id: "4", data: `{"event":"log","message":"b"}`}, {event: "end", data: "{}"},
	}, got, "without the torn line")
}

func TestEventsOfCutJournal(t *testing.T) {
	rec, dir, _ := ended(t)
	require.NoError(t, os.Truncate(filepath.Join(dir, journalFile.name), 0))
	s := open(t, config(rec, dir))
	got := openStream(t, s, "/events").all(t)
	require.Len(t, got, 2)
	assert.Contains(t, got[0].comment, "shorter")
	assert.Equal(t, "end", got[1].event, "a browser must not come back for ever")

	require.NoError(t, os.Remove(filepath.Join(dir, journalFile.name)))
	assert.Equal(t, 404, ask(t, s, "GET", "/events").StatusCode)
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, dir := record(t)
		v := newView(config(rec, dir), func(error) {})
		ctx, cancel := context.WithCancel(t.Context())
		w := &sink{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			v.serveEvents(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/events", nil))
		}()
		synctest.Wait()
		assert.Contains(t, w.take(), "id: 1\n")
		for range 3 {
			time.Sleep(heartbeat - time.Second)
			synctest.Wait()
			assert.Empty(t, w.take())
			time.Sleep(time.Second)
			synctest.Wait()
			assert.Regexp(t, "^: .*\n\n$", w.take())
		}
		// A stream that is busy has them too.
		comments := 0
		for range 40 {
			time.Sleep(time.Second)
			tell(t, rec, start("a"))
			synctest.Wait()
			comments += strings.Count(w.take(), ": obsrun is here\n")
		}
		assert.Contains(t, []int{2, 3}, comments)
		cancel()
		<-done
		finish(t, rec)
	})
}
