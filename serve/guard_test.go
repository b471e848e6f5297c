package serve

import (
	"bufio"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHost(t *testing.T) {
	rec, dir := record(t)
	cfg := config(rec, dir)
	cfg.AllowHosts = []string{"Tunnel.example.com", "10.1.2.3:8080", "[2001:db8::1]"}
	s := open(t, cfg)
	for host, want := range map[string]bool{
		"localhost": true, "localhost:1": true, "LocalHost:80": true, "localhost.": true, "localhost:": true,
		"127.0.0.1": true, "127.0.0.1:99": true, "127.8.9.10": true, "[::1]": true, "[::1]:80": true,
		"[0:0:0:0:0:0:0:1]": true, "[::ffff:127.0.0.1]": true,
		"tunnel.example.com": true, "TUNNEL.example.com:443": true, "10.1.2.3": true, "[2001:db8:0::1]:5": true,

		"evil.com": false, "localhost.evil.com": false, "evil-localhost": false, "127.0.0.1.evil.com": false,
		"evil.localhost": false, "localhost.localdomain": false, "xlocalhost": false, "localhost..": false,
		"user@localhost": false, "localhost@evil.com": false, "localhost:80@evil.com": false,
		"0.0.0.0": false, "[::]": false, "192.168.1.10": false, "10.1.2.4": false, "169.254.169.254": false,
		"2130706433": false, "0x7f.1": false, "127.1": false, "127.0.0.01": false, "128.0.0.1": false,
		"[localhost]": false, "[127.0.0.1]": false, "[::1": false, "::1": false, "[::1]x": false, "127.0.0.1]": false,
		"localhost:x": false, "localhost,evil.com": false, "sub.tunnel.example.com": false, "tunnel.example.com.evil.com": false,
	} {
		for _, route := range []string{"GET /", "GET /state", "GET /events", "GET /healthz", "GET /telemetry.jsonl", "POST /v1/traces", "DELETE /", "OPTIONS *", "GET /nothing"} {
			method, path, _ := strings.Cut(route, " ")
			answer := rawly(t, s, method+" "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
			status := strings.Fields(answer)[1]
			switch {
			case !want:
				// 400 is the HTTP library's own answer to a Host that is none.
				assert.Contains(t, []string{"403", "400"}, status, "%s for Host %q", route, host)
			case path == "/healthz":
				assert.Equal(t, "200", status, "%s for Host %q", route, host)
			default:
				assert.Equal(t, "401", status, "%s for Host %q", route, host)
			}
		}
	}
	for _, text := range []string{
		"GET /healthz HTTP/1.0\r\n\r\n", // no Host at all
		"GET http://evil.com/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", // the target's Host counts
	} {
		assert.Contains(t, rawly(t, s, text), " 403 ", text)
	}
}

func TestAllowHostRefused(t *testing.T) {
	rec, dir := record(t)
	for _, name := range []string{"", " ", "*", "*.example.com", "http://example.com", "a/b", "a,b", "user@host", "[::1", "host:port"} {
		cfg := config(rec, dir)
		cfg.AllowHosts = []string{name}
		_, err := Listen(cfg)
		assert.ErrorContains(t, err, "allow host", "%q", name)
	}
}

func TestToken(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	cookie := "Cookie: obsrun_" + testRun + "="
	for name, test := range map[string]struct {
		path    string
		headers []string
		want    int
	}{
		"nothing":                     {"/state", nil, 401},
		"bearer":                      {"/state", []string{"Authorization: Bearer " + testToken}, 200},
		"bearer, other case":          {"/state", []string{"Authorization: bEARER  " + testToken}, 200},
		"bearer, percent-encoded":     {"/state", []string{"Authorization: Bearer%20" + testToken}, 200},
		"bearer, encoded and wrong":   {"/state", []string{"Authorization: Bearer%20" + testToken + "x"}, 401},
		"bearer, badly encoded":       {"/state", []string{"Authorization: Bearer%2" + testToken}, 401},
		"bearer, wrong":               {"/state", []string{"Authorization: Bearer " + testToken + "x"}, 401},
		"bearer, beginning":           {"/state", []string{"Authorization: Bearer the"}, 401},
		"bearer, empty":               {"/state", []string{"Authorization: Bearer "}, 401},
		"basic":                       {"/state", []string{"Authorization: Basic " + testToken}, 401},
		"bare":                        {"/state", []string{"Authorization: " + testToken}, 401},
		"query":                       {"/state?token=" + testToken, nil, 200},
		"query, wrong":                {"/state?token=other", nil, 401},
		"query, empty":                {"/state?token=", nil, 401},
		"query, other case of name":   {"/state?Token=" + testToken, nil, 401},
		"cookie":                      {"/state", []string{cookie + testToken}, 200},
		"cookie, wrong":               {"/state", []string{cookie + "other"}, 401},
		"cookie, one of two is right": {"/state", []string{cookie + "other", cookie + testToken}, 200},
		"cookie of another run":       {"/state", []string{"Cookie: obsrun_eigenda-20260408-ffffff=" + testToken}, 401},
		"cookie without run":          {"/state", []string{"Cookie: obsrun_=" + testToken}, 401},
		"right cookie, wrong query":   {"/state?token=other", []string{cookie + testToken}, 200},
		"code elsewhere than /":       {"/state?code=x", nil, 401},
		"unknown path":                {"/nothing", nil, 401},
		"unknown path with token":     {"/nothing?token=" + testToken, nil, 404},
		"health":                      {"/healthz", nil, 200},
		"below health":                {"/healthz/", nil, 401},
	} {
		t.Run(name, func(t *testing.T) {
			resp := askAs(t, s, "GET", test.path, test.headers...)
			assert.Equal(t, test.want, resp.StatusCode)
			if test.want == http.StatusUnauthorized {
				assert.Contains(t, body(t, resp), "run.json")
				assert.Contains(t, resp.Header.Get("WWW-Authenticate"), "Bearer")
			}
		})
	}
}

func TestCookieIsForReadingOnly(t *testing.T) {
	rec, dir := record(t)
	cfg := config(rec, dir)
	cfg.Routes = []Route{{"POST", "/v1/traces", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })}}
	s := open(t, cfg)
	assert.Equal(t, 401, askAs(t, s, "POST", "/v1/traces", "Cookie: obsrun_"+testRun+"="+testToken).StatusCode)
	assert.Equal(t, 204, ask(t, s, "POST", "/v1/traces").StatusCode)
	assert.Equal(t, 204, askAs(t, s, "POST", "/v1/traces?token="+testToken).StatusCode)
	assert.Equal(t, 405, ask(t, s, "GET", "/v1/traces").StatusCode)
}

func TestMethods(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	for _, path := range []string{"/", "/events", "/state", "/telemetry.jsonl", "/run_summary.json", "/terminal.cast", "/healthz"} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"} {
			resp := ask(t, s, method, path)
			assert.Equal(t, 405, resp.StatusCode, "%s %s", method, path)
			assert.Equal(t, "GET, HEAD", resp.Header.Get("Allow"), "%s %s", method, path)
		}
		for _, method := range []string{"GET", "HEAD"} {
			assert.Contains(t, []int{200, 404}, ask(t, s, method, path).StatusCode, "%s %s", method, path)
		}
	}
}

func TestAnswersAreClosedToOthers(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	for _, origin := range []string{"null", "http://localhost:3000", "https://evil.com", "file://", "chrome-extension://x", s.Base()} {
		for _, method := range []string{"GET", "OPTIONS", "POST"} {
			for _, path := range []string{"/", "/state", "/events", "/healthz", "/nothing", "/telemetry.jsonl"} {
				resp := ask(t, s, method, path, "Origin: "+origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Private-Network: true")
				for name := range resp.Header {
					assert.NotContains(t, name, "Access-Control")
				}
				assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
				assert.Equal(t, "no-referrer", resp.Header.Get("Referrer-Policy"))
				assert.Contains(t, resp.Header.Get("Cache-Control"), "no-store")
				assert.Contains(t, resp.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
				assert.Contains(t, resp.Header.Get("Content-Security-Policy"), "default-src 'none'")
				assert.Empty(t, resp.Header.Get("Content-Encoding"))
			}
		}
	}
	resp := ask(t, s, "GET", "/", "Accept-Encoding: gzip")
	assert.Equal(t, testCSP, resp.Header.Get("Content-Security-Policy"))
	assert.Equal(t, testPage, body(t, resp))
}

// The token of the address is traded for a cookie; the address is left without.
func TestTokenTrade(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	address, err := url.Parse(s.URL())
	require.NoError(t, err)
	resp := askAs(t, s, "GET", address.RequestURI())
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	assert.Equal(t, "/", resp.Header.Get("Location"))
	require.Len(t, resp.Cookies(), 1)
	cookie := resp.Cookies()[0]
	assert.Equal(t, "obsrun_"+testRun, cookie.Name)
	assert.True(t, cookie.HttpOnly)
	assert.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
	assert.Equal(t, "/", cookie.Path)
	assert.Empty(t, cookie.Domain)
	assert.False(t, cookie.Secure)

	resp = askAs(t, s, "GET", "/", "Cookie: "+cookie.Name+"="+cookie.Value)
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, testPage, body(t, resp))

	for path, want := range map[string]string{
		"/?token=" + testToken + "&theme=dark":                   "/?theme=dark",
		"/?next=//evil.com&token=" + testToken:                   "/?next=%2F%2Fevil.com",
		"/?token=" + testToken + "&x=%0d%0aSet-Cookie:%20evil=1": "/?x=%0D%0ASet-Cookie%3A+evil%3D1",
		"/?token=wrong&token=" + testToken:                       "401",
		"/?token=wrong":                                          "401",
		"/?code=wrong":                                           "401",
		"//?token=" + testToken:                                  "404",
		"//evil.com/?token=" + testToken:                         "404",
		"/%2e%2e/?token=" + testToken:                            "404",
	} {
		resp := askAs(t, s, "GET", path)
		if len(want) == 3 {
			assert.Equal(t, want, resp.Status[:3], path)
			continue
		}
		assert.Equal(t, want, resp.Header.Get("Location"), path)
	}
	// A browser that comes back to the old address has the cookie.
	resp = askAs(t, s, "GET", "/?code=used", "Cookie: "+cookie.Name+"="+cookie.Value)
	assert.Equal(t, "/", resp.Header.Get("Location"))
}

func TestRefreshAfterLinkFromAnotherSite(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	assert.Equal(t, "0; url=/", askAs(t, s, "GET", "/", "Sec-Fetch-Site: cross-site").Header.Get("Refresh"))
	assert.Empty(t, askAs(t, s, "GET", "/", "Sec-Fetch-Site: same-origin").Header.Get("Refresh"))
	assert.Empty(t, askAs(t, s, "GET", "/state", "Sec-Fetch-Site: cross-site").Header.Get("Refresh"))
}

func TestOneTimeCode(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	first, second := s.OpenURL(), s.OpenURL()
	assert.NotEqual(t, first, second)
	assert.NotContains(t, first, testToken)
	path := strings.TrimPrefix(first, s.Base())

	assert.Equal(t, 401, askAs(t, s, "HEAD", path).StatusCode, "a look ahead does not use it up")
	resp := askAs(t, s, "GET", path)
	assert.Equal(t, 303, resp.StatusCode)
	assert.Equal(t, "/", resp.Header.Get("Location"))
	require.Len(t, resp.Cookies(), 1)
	assert.Equal(t, testToken, resp.Cookies()[0].Value)
	assert.Equal(t, 401, askAs(t, s, "GET", path).StatusCode, "twice")
	assert.Equal(t, 401, askAs(t, s, "POST", strings.TrimPrefix(second, s.Base())).StatusCode)
	assert.Equal(t, 303, askAs(t, s, "GET", strings.TrimPrefix(second, s.Base())).StatusCode)
}

func TestCodeExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCodes()
		early, late, unused := c.issue(), c.issue(), c.issue()
		time.Sleep(codeLife - time.Nanosecond)
		assert.True(t, c.redeem(early))
		assert.False(t, c.redeem(early))
		time.Sleep(2 * time.Nanosecond)
		assert.False(t, c.redeem(late))
		assert.False(t, c.redeem(""))
		c.issue()
		assert.Len(t, c.expires, 1, "those that ran out are forgotten: %s", unused)
	})
}

func TestNewToken(t *testing.T) {
	a, b := NewToken(), NewToken()
	assert.NotEqual(t, a, b)
	assert.GreaterOrEqual(t, len(a), 26)
	assert.Equal(t, a, url.QueryEscape(a))
}

func TestCookieName(t *testing.T) {
	assert.Equal(t, "obsrun_my-run_1.2-20260408-abc123", cookieName("my-run_1.2-20260408-abc123"))
	assert.Equal(t, "obsrun_a_b__c_", cookieName("a b;=c\n"))
}

// Whatever a request line says, nothing is served but the routes, and nothing is
// redirected but the trade of a token.
func TestRequestTargets(t *testing.T) {
	rec, dir := record(t)
	s := open(t, config(rec, dir))
	bearer := "\r\nAuthorization: Bearer " + testToken + "\r\nConnection: close\r\n\r\n"
	for _, target := range []string{
		"//", "//evil.com", "//evil.com/", "/\\evil.com", "/\\/evil.com", "\\\\evil.com", "/%2f%2fevil.com", "/%5cevil.com", "/.//evil.com",
		"/..", "/../", "/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..\\..\\etc\\passwd",
		"/./state", "/state/", "/state/.", "/state/..", "/STATE", "/state;x", "/state%00", "/%00", "/events/", "/telemetry.jsonl/",
		"/telemetry.jsonl/../run.json", "/telemetry.jsonl%2f..%2frun.json", "/run.json", "/rejected.jsonl", "/lock", "/.", "/index.html",
		"/telemetry.jsonl%20", "/terminal.cast::$DATA", "/%74elemetry.jsonl%00.png", "/logs/", "/static/../telemetry.jsonl",
		"http://localhost//evil.com", "http://localhost/../run.json", "http://localhost:1/%2e%2e/run.json", "ftp://localhost/run.json", "*", "state", "?token=" + testToken, "#", "",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "CONNECT"} {
			answer := rawly(t, s, method+" "+target+" HTTP/1.1\r\nHost: localhost"+bearer)
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
			require.NoError(t, err, "%s %q: %q", method, target, answer)
			assert.GreaterOrEqual(t, resp.StatusCode, 400, "%s %q", method, target)
			assert.Empty(t, resp.Header.Get("Location"), "%s %q", method, target)
		}
	}
	assert.Contains(t, rawly(t, s, "CONNECT evil.com:443 HTTP/1.1\r\nHost: localhost"+bearer), " 403 ")
	assert.Contains(t, rawly(t, s, "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost"+bearer), "HTTP/1.1 4")
	// An absolute target of this server is its path.
	assert.Contains(t, rawly(t, s, "GET http://localhost/healthz HTTP/1.1\r\nHost: x"+bearer), " 200 ")
	assert.Contains(t, rawly(t, s, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: "+strings.Repeat("x", 1<<20)+"\r\n\r\n"), " 431 ")
}
