package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// resolveLimit bounds the look-up of a host name to listen on.
const resolveLimit = 5 * time.Second

// listen opens address. One that others can reach is refused unless exposed is
// allowed. The name is resolved first and exactly the address found is opened:
// so every spelling of a wildcard counts as what it means, and a name can not
// mean one thing when it is checked and another when it is used.
func listen(address string, exposed bool) (net.Listener, error) {
	addr, err := resolve(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	if !addr.Addr().IsLoopback() && !exposed {
		return nil, fmt.Errorf("listen on %q: others can reach this address and would see the run: "+
			"use a loopback one (127.0.0.1:0), or give --tls-cert and --tls-key, or --insecure if that is meant", address)
	}
	network := "tcp"
	if addr.Addr().Is4() {
		network = "tcp4" // 0.0.0.0 is no wish for IPv6
	}
	listener, err := net.Listen(network, addr.String())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %q: the port is taken: use another, or 0 for a free one", address)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, errors.Unwrap(err))
	}
	return &limited{Listener: listener, slots: make(chan struct{}, maxConnections()), closed: make(chan struct{})}, nil
}

// resolve gives the one address that is meant: of several the first IPv4 one, as
// net.Listen chooses. No host is every address.
func resolve(address string) (netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, errors.New("an address is host:port, for example 127.0.0.1:0")
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no port: it is a number up to 65535, 0 for a free one", service)
	}
	if host == "" {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)), nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveLimit)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if len(addrs) == 0 {
		return netip.AddrPort{}, fmt.Errorf("%q has no address", host)
	}
	chosen := addrs[0].Unmap()
	for _, addr := range addrs {
		if addr = addr.Unmap(); addr.Is4() {
			chosen = addr
			break
		}
	}
	return netip.AddrPortFrom(chosen, uint16(port)), nil
}

// baseURL is how the server is reached from this machine: by the name that was
// asked for, else by the address; a wildcard is no address to go to.
func baseURL(asked string, bound net.Addr, secure bool) string {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	host, _, _ := net.SplitHostPort(asked)
	addr, port := netip.Addr{}, 0
	if tcp, ok := bound.(*net.TCPAddr); ok {
		addr, port = tcp.AddrPort().Addr().Unmap(), tcp.Port
	}
	switch parsed, err := netip.ParseAddr(host); {
	case host == "", addr.IsUnspecified() && addr.Is4():
		host = "127.0.0.1"
	case addr.IsUnspecified():
		host = "::1"
	case err == nil:
		host = parsed.Unmap().String()
	}
	return scheme + net.JoinHostPort(host, strconv.Itoa(port))
}

// maxConnections keeps clients from using up the descriptors that the run needs:
// half of those the process may have, 1024 at most.
func maxConnections() int {
	const most = 1024
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return most
	}
	return int(max(8, min(most, limit.Cur/2)))
}

// limited accepts a connection only while there is a slot for it. Others wait in
// the system's backlog.
type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotted{Conn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type slotted struct {
	net.Conn
	release func()
}

func (c *slotted) Close() error {
	c.release()
	return c.Conn.Close()
}

// CloseWrite lets the server end an answer whose request was not read to its end
// without a reset, which could destroy the answer on its way.
func (c *slotted) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
