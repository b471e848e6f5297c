package serve

import (
	"net"
	"net/netip"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestListenAddress(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "localhost:0", "127.1.2.3:0", "[::ffff:127.0.0.1]:0"} {
		listener, err := listen(address, false)
		require.NoError(t, err, address)
		bound := listener.Addr().(*net.TCPAddr)
		assert.True(t, bound.IP.IsLoopback(), "%s became %s", address, bound)
		listener.Close()
	}
	for address, want := range map[string]string{
		"0.0.0.0:0": "others can reach", ":0": "others can reach", "[::]:0": "others can reach", "[::0]:0": "others can reach",
		"[0:0:0:0:0:0:0:0]:0": "others can reach", "[::ffff:0.0.0.0]:0": "others can reach", "[::%lo]:0": "others can reach",
		"192.0.2.1:0": "others can reach", "[2001:db8::1]:0": "others can reach",
		"8080": "host:port", "": "host:port", "127.0.0.1": "host:port", "::1": "host:port", "localhost": "host:port",
		"127.0.0.1:http": "no port", "127.0.0.1:-1": "no port", "127.0.0.1:70000": "no port", "127.0.0.1:": "no port",
	} {
		_, err := listen(address, false)
		assert.ErrorContains(t, err, want, address)
		assert.ErrorContains(t, err, strconv.Quote(address))
	}
	// What the system's resolver makes of these is its business; it is never taken
	// for loopback without being it.
	for _, address := range []string{"0:0", "0x0:0", "00.0.0.0:0", "０.０.０.０:0", "127.0.0.1.:0", "2130706433:0"} {
		listener, err := listen(address, false)
		if err == nil {
			assert.True(t, listener.Addr().(*net.TCPAddr).IP.IsLoopback(), address)
			listener.Close()
		}
	}
}

func TestListenTakenPort(t *testing.T) {
	first, err := listen("127.0.0.1:0", false)
	require.NoError(t, err)
	defer first.Close()
	_, err = listen(first.Addr().String(), false)
	assert.ErrorContains(t, err, "0 for a free one")
}

func TestBaseURL(t *testing.T) {
	at := func(addr string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)) }
	for _, test := range []struct {
		asked  string
		bound  net.Addr
		secure bool
		want   string
	}{
		{"127.0.0.1:0", at("127.0.0.1:4000"), false, "http://127.0.0.1:4000"},
		{"localhost:0", at("127.0.0.1:4000"), true, "https://localhost:4000"},
		{"[::1]:0", at("[::1]:4000"), false, "http://[::1]:4000"},
		{"[::ffff:127.0.0.1]:0", at("127.0.0.1:4000"), false, "http://127.0.0.1:4000"},
		{"0.0.0.0:80", at("0.0.0.0:80"), false, "http://127.0.0.1:80"},
		{":80", at("[::]:80"), false, "http://127.0.0.1:80"},
		{"[::]:80", at("[::]:80"), false, "http://[::1]:80"},
		{"192.0.2.1:80", at("192.0.2.1:80"), false, "http://192.0.2.1:80"},
	} {
		assert.Equal(t, test.want, baseURL(test.asked, test.bound, test.secure), test.asked)
	}
}

// The machine's own addresses are answered where a wildcard is listened on, and
// names are not.
func TestWildcard(t *testing.T) {
	rec, dir := record(t)
	cfg := config(rec, dir)
	cfg.Listen, cfg.Insecure = "0.0.0.0:0", true
	s := open(t, cfg)
	assert.Equal(t, 200, ask(t, s, "GET", "/healthz").StatusCode)
	assert.Equal(t, 200, ask(t, s, "GET", "/healthz", "Host: 0.0.0.0").StatusCode, "the address listened on")
	assert.Equal(t, 403, ask(t, s, "GET", "/healthz", "Host: evil.com").StatusCode)
	assert.Equal(t, 403, ask(t, s, "GET", "/healthz", "Host: 192.0.2.7").StatusCode)

	own := outward(t)
	_, port, err := net.SplitHostPort(s.listener.Addr().String())
	require.NoError(t, err)
	s.base = "http://" + net.JoinHostPort(own, port)
	assert.Equal(t, 200, ask(t, s, "GET", "/healthz").StatusCode)
	assert.Equal(t, 403, ask(t, s, "GET", "/healthz", "Host: evil.com").StatusCode)
}

// outward is an IPv4 address of this machine, not a loopback one where it has another.
func outward(t *testing.T) string {
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, addr := range addrs {
		if ip, ok := addr.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	return "127.0.0.2"
}

func TestConnectionsAreBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &limited{Listener: inner, slots: make(chan struct{}, 2), closed: make(chan struct{})}
	accepted := make(chan net.Conn)
	ended := make(chan error)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- conn
		}
	}()
	for range 3 {
		conn, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
	}
	first := <-accepted
	second := <-accepted
	defer second.Close()
	assert.Len(t, l.slots, 2)
	require.NoError(t, first.Close())
	_ = first.Close() // frees one slot, not two
	third := <-accepted
	defer third.Close()
	assert.Len(t, l.slots, 2)
	require.NoError(t, l.Close()) // while Accept waits for a slot
	assert.ErrorIs(t, <-ended, net.ErrClosed)
}
