package serve

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// NewToken gives a new token: at least 128 random bits, in letters and digits
// that need no quoting in a URL, a header or a shell.
func NewToken() string { return rand.Text() }

// bareCSP is the policy of every answer but the page.
const bareCSP = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard decides who is answered. Loopback is no wall: a web page can have its
// name point to 127.0.0.1, and every local user can connect. So the Host must be
// one of ours, which a page's own name is not, and the token must be known. There
// is no CORS header, so no page of another origin reads an answer.
type guard struct {
	token  string
	where  string // the token is to be found
	cookie string // its name
	secure bool   // the cookie is for TLS alone
	hosts  map[string]bool
	codes  *codes
}

func newGuard(cfg Config, secure bool) (*guard, error) {
	if cfg.Token == "" {
		return nil, errors.New("serve the dashboard: it has no token")
	}
	g := &guard{
		token: cfg.Token, where: cfg.TokenIn, cookie: cookieName(cfg.RunID), secure: secure,
		hosts: map[string]bool{"localhost": true}, codes: newCodes(),
	}
	if g.where == "" {
		g.where = "It is part of the address in run.json in the run's directory and in OBSRUN_URL within the run"
	}
	if host, _, err := net.SplitHostPort(cfg.Listen); err == nil && host != "" {
		g.hosts[canonical(host)] = true
	}
	for _, given := range cfg.AllowHosts {
		name := canonical(given)
		if _, err := netip.ParseAddr(name); err != nil {
			host, ok := hostname(given)
			if !ok || strings.ContainsAny(host, "*/\\@, ") {
				return nil, fmt.Errorf("allow host %q: it must be one host name or address, as it stands in the browser's address bar", given)
			}
			name = canonical(host)
		}
		g.hosts[name] = true
	}
	return g, nil
}

// wrap puts the guard before next.
func (g *guard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("Content-Security-Policy", bareCSP)
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		if !g.knowsHost(r) {
			refuse(w, http.StatusForbidden, "This Host is not answered. Use the address that obsrun printed, or start obsrun with --allow-host NAME for this one.")
			return
		}
		if r.URL.Path == healthPath {
			next.ServeHTTP(w, r)
			return
		}
		allowed := g.knowsToken(r)
		if r.URL.Path == "/" && isRead(r) {
			query := r.URL.Query()
			if !allowed && r.Method == http.MethodGet {
				allowed = g.codes.redeem(query.Get("code"))
			}
			if allowed && (query.Has("token") || query.Has("code")) {
				g.trade(w, r)
				return
			}
		}
		if !allowed {
			g.askToken(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// trade gives a browser the cookie for the token or code in its address, and
// sends it to the same address without them. The target begins with "/?" or is
// "/": it can not lead elsewhere.
func (g *guard) trade(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{ // #nosec G124 -- Secure where it is TLS: browsers keep no secure cookie of another server
		Name: g.cookie, Value: g.token, Path: "/", Secure: g.secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	query := r.URL.Query()
	query.Del("token")
	query.Del("code")
	target := "/"
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}

func (g *guard) askToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="obsrun"`)
	if r.URL.Path == "/" && isRead(r) && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		// The address was followed from another site's page, a terminal in the
		// browser say: the strict cookie that the redirect just set is held back
		// then. The page's own reload is sent with it, and is not cross-site.
		w.Header().Set("Refresh", "0; url=/")
	}
	refuse(w, http.StatusUnauthorized, "This run's token is missing or wrong. "+g.where+"; "+
		"open that address, or send the token as ?token=TOKEN or Authorization: Bearer TOKEN.")
}

// knowsToken tells whether the request has the run's token, in whatever place.
// The cookie is enough for reading only: pages of other ports of the same host
// count as the same site, and the browser would send it along with what they post.
func (g *guard) knowsToken(r *http.Request) bool {
	authorization := r.Header.Get("Authorization")
	// OTEL_EXPORTER_OTLP_HEADERS is percent-encoded, and some exporters send it as
	// it stands.
	if decoded, err := url.PathUnescape(authorization); err == nil {
		authorization = decoded
	}
	if scheme, given, ok := strings.Cut(authorization, " "); ok &&
		strings.EqualFold(scheme, "Bearer") && equal(strings.TrimSpace(given), g.token) {
		return true
	}
	if given := r.URL.Query().Get("token"); given != "" && equal(given, g.token) {
		return true
	}
	if !isRead(r) {
		return false
	}
	for _, cookie := range r.CookiesNamed(g.cookie) {
		if equal(cookie.Value, g.token) {
			return true
		}
	}
	return false
}

// knowsHost tells whether the Host is a loopback name or address, the address
// listened on, or one that was allowed. Other names below .localhost are not:
// not every resolver keeps them on this machine.
func (g *guard) knowsHost(r *http.Request) bool {
	name, ok := hostname(r.Host)
	if !ok {
		return false
	}
	if g.hosts[canonical(name)] {
		return true
	}
	addr, err := netip.ParseAddr(name) // as it stands: an address has no final dot
	if err != nil {
		return false
	}
	if addr = addr.Unmap().WithZone(""); addr.IsLoopback() {
		return true
	}
	// A wildcard address is listened on at every address of the machine. A page
	// can take over a name, not the address that it is itself reached by.
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.AddrPort().Addr().Unmap().WithZone("") == addr
}

// hostname cuts the port off a Host. It is strict: what is not name, name:port,
// [IPv6] or [IPv6]:port is none.
func hostname(host string) (string, bool) {
	name, port := host, ""
	if rest, ok := strings.CutPrefix(host, "["); ok {
		if name, port, ok = strings.Cut(rest, "]"); !ok || !strings.Contains(name, ":") {
			return "", false
		}
		if port != "" && port[0] != ':' {
			return "", false
		}
		port = strings.TrimPrefix(port, ":")
	} else {
		name, port, _ = strings.Cut(host, ":")
	}
	if name == "" || strings.Trim(port, "0123456789") != "" {
		return "", false
	}
	return name, true
}

// canonical writes equal hosts equally: lower case, no final dot, addresses in
// their shortest form.
func canonical(host string) string {
	host = strings.ToLower(host)
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().WithZone("").String()
	}
	return strings.TrimSuffix(host, ".")
}

// cookieName is obsrun_<run_id>, without what a cookie's name can not have: runs
// on other ports of the host have cookies of their own.
func cookieName(runID string) string {
	return "obsrun_" + strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
			return c
		}
		return '_'
	}, runID)
}

// equal compares in a time that tells nothing of where two secrets differ, nor
// how long they are.
func equal(a, b string) bool {
	sumA, sumB := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(sumA[:], sumB[:]) == 1
}

func isRead(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// refuse answers with one sentence for a person.
func refuse(w http.ResponseWriter, status int, sentence string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(sentence + "\n")) // #nosec G705 -- plain text, and nosniff
}
