package serve

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A Host is known only if it is a spelling of this machine or of what was allowed:
// as the rest of the library reads addresses, not as the guard does.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{"localhost:80", "[::1]:1", "127.0.0.1", "evil.com", "[::ffff:127.0.0.1%25x]", "localhost.", "localhost@evil.com", "127.1", "[::1%lo]", "0", "LOCALHOST\x00", "tunnel.example.com.", "[::fFfF:127.27.0.0.]", "127.0.0.1."} {
		f.Add(seed)
	}
	g := &guard{hosts: map[string]bool{"localhost": true, "tunnel.example.com": true}}
	f.Fuzz(func(t *testing.T, host string) {
		if !g.knowsHost(&http.Request{Host: host}) {
			return
		}
		name := host
		if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
			assert.Empty(t, strings.Trim(host[at+1:], "0123456789"), "the port of %q", host)
			name = host[:at]
		}
		name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
		if addr, err := netip.ParseAddr(name); err == nil {
			assert.True(t, addr.IsLoopback() || addr.Unmap().IsLoopback(), "%q", host)
			return
		}
		assert.Contains(t, []string{"localhost", "tunnel.example.com"}, strings.TrimSuffix(strings.ToLower(name), "."), "%q", host)
	})
}

// Where a stream resumes is a line that there is, or the beginning.
func FuzzResume(f *testing.F) {
	for _, seed := range []string{"", "0", "7", "8", "-1", "+1", "1e3", "٣", "99999999999999999999", " 3", "3\x00"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, id string, header bool) {
		r := &http.Request{Header: make(http.Header)}
		r.URL = &url.URL{Path: "/events"}
		if header {
			r.Header["Last-Event-Id"] = []string{id}
		} else {
			query := r.URL.Query()
			query.Set("after", id)
			r.URL.RawQuery = query.Encode()
		}
		line := resumeAfter(r, 7)
		assert.True(t, line >= 0 && line <= 7, line)
		if line > 0 {
			assert.Equal(t, string(rune('0'+line)), strings.TrimLeft(id, "0"))
		}
	})
}
