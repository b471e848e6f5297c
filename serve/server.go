package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
)

// Config says what is served, where, and to whom.
type Config struct {
	// RunID names the cookie, Dir is the directory with the run's files.
	RunID, Dir string
	// Feed is the run's state. The lines that it counts are those of
	// telemetry.jsonl in Dir.
	Feed *run.Feed
	// Page gives the dashboard and the Content-Security-Policy it needs: ui.Page.
	Page func() (html []byte, csp string, err error)
	// Last gives the run before this one, as the stream of /state tells it: nil where
	// there is none. Nil is a server that knows of none.
	Last func() (any, error)
	// Library has the server show all runs of a directory in place of one; then Dir,
	// Feed and Routes are not used.
	Library *Library
	// Routes are answered besides the package's own, behind the same guard.
	Routes []Route

	// Token is what every request must know: see NewToken.
	Token string
	// TokenIn says where to find it, as a sentence for who has none. By default
	// that of a run that is live here.
	TokenIn string
	// AllowHosts are further values of the Host header that are answered, without
	// a port.
	AllowHosts []string

	// Listen is the address, host:port; port 0 picks a free one. One that is not
	// loopback needs TLSCert and TLSKey (PEM files) or Insecure.
	Listen          string
	TLSCert, TLSKey string
	Insecure        bool

	// Fault is told of what went wrong within the server itself: a handler that
	// panicked, a state that could not be encoded. It must not block. Nil drops it.
	Fault func(error)
}

// Route is a handler for one method and one exact path. The guard has let
// through what it is given, and each of its writes must be taken within ten
// seconds; it bounds what it reads itself. A request that is neither GET nor HEAD
// is let through for its token only, never for a cookie.
type Route struct {
	Method, Path string
	Handler      http.Handler
}

// The limits of the server.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = time.Minute
	maxHeaderBytes    = 64 << 10
	// writePatience is how long a client may take nothing of what is sent to it.
	writePatience = 10 * time.Second
	// settleLimit is how long the end of a run waits for its dashboards.
	settleLimit = 2 * time.Second
	// shutdownLimit is how long answers that are being given may take to finish.
	shutdownLimit = time.Second
)

// Server is the live view of one run. Listen makes one; Serve, Settle, Shutdown
// and the others may be called from any goroutine.
type Server struct {
	guard    *guard
	view     *view
	shelf    *shelf // nil but for a library
	listener net.Listener
	http     *http.Server
	tls      bool
	base     string
	patience time.Duration
	fault    func(error)

	stop  context.CancelFunc // ends the streams
	conns connections
	wires wires
}

// Listen opens the address and gives the server of it, which answers once Serve
// runs. It reads the certificate, so that what is wrong with it is known before the
// run starts; the page is assembled when somebody asks for it, which most runs in CI
// never see. No error leaves anything open.
func Listen(cfg Config) (*Server, error) {
	fault := cfg.Fault
	if fault == nil {
		fault = func(error) {}
	}
	s := &Server{tls: cfg.TLSCert != "" || cfg.TLSKey != "", patience: writePatience, fault: fault}

	var certificates []tls.Certificate
	if s.tls {
		if cfg.TLSCert == "" || cfg.TLSKey == "" {
			return nil, errors.New("serve over TLS: --tls-cert and --tls-key are needed together")
		}
		pair, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("load TLS certificate: %w", err)
		}
		certificates = []tls.Certificate{pair}
	}
	if cfg.Library != nil {
		s.shelf = newShelf(cfg.Library, fault)
	}
	var err error
	if s.guard, err = newGuard(cfg, s.tls); err != nil {
		return nil, err
	}
	if s.listener, err = listen(cfg.Listen, s.tls || cfg.Insecure); err != nil {
		return nil, err
	}
	s.base = baseURL(cfg.Listen, s.listener.Addr(), s.tls)

	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.wires.ctx, s.wires.fault = ctx, fault
	s.view = newView(cfg, fault)
	var routes http.Handler
	if s.shelf != nil {
		routes = s.shelf.routes(s.view)
	} else {
		routes = s.view.routes(cfg.Routes)
	}
	s.http = &http.Server{
		Handler:           s.handler(routes),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// "OPTIONS *" would be answered before the guard sees it.
		DisableGeneralOptionsHandler: true,
		TLSConfig:                    &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12},
		// The terminal is the child's; what matters goes to fault.
		ErrorLog:    log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState:   s.conns.note,
	}
	return s, nil
}

// Serve answers until Shutdown, and returns nil then.
func (s *Server) Serve() error {
	var err error
	if s.tls {
		err = s.http.ServeTLS(s.listener, "", "")
	} else {
		err = s.http.Serve(s.listener)
	}
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("serve the dashboard: %w", err)
}

// Base is the server's address as a URL without a path, for example
// "http://127.0.0.1:41234". For a wildcard address it is the loopback one.
func (s *Server) Base() string { return s.base }

// URL is the dashboard's address with the token.
func (s *Server) URL() string { return s.base + "/?token=" + url.QueryEscape(s.guard.token) }

// OpenURL is an address for the browser that is about to be started: command
// lines can be read by others, so it has a code in place of the token that works
// once, within 60 s. Each call makes a new one.
func (s *Server) OpenURL() string { return s.base + "/?code=" + s.guard.codes.issue() }

// Settle waits until every connected dashboard was sent the last state and what
// it asked for then, but 2 s at most. The feed must have ended. It returns at
// once where no dashboard is connected.
func (s *Server) Settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	s.view.audience.settled(ctx)
}

// Shutdown stops listening, ends the streams, lets other answers finish for a
// second, or until ctx is done, and closes every connection.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	s.wires.shut()
	closed := s.listener.Close()
	if errors.Is(closed, net.ErrClosed) {
		closed = nil
	}
	ctx, cancel := context.WithTimeout(ctx, shutdownLimit)
	defer cancel()
	done := make(chan struct{})
	go func() {
		// From here on no connection is used again. Its own waiting would also be
		// for browsers that opened a connection in advance and never used it.
		_ = s.http.Shutdown(ctx)
		close(done)
	}()
	s.conns.quiet(ctx)
	s.wires.gone(ctx)
	cancel()
	<-done
	err := s.http.Close()
	if s.shelf != nil {
		clearing, cancel := context.WithTimeout(context.Background(), shutdownLimit)
		defer cancel()
		s.shelf.clear(clearing)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the dashboard: %w", err)
	}
	if closed != nil {
		return fmt.Errorf("close the dashboard: %w", closed)
	}
	return nil
}

// connections knows which connections are in the middle of an answer.
type connections struct {
	mu     sync.Mutex
	active map[net.Conn]struct{}
}

func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state != http.StateActive {
		delete(c.active, conn)
		return
	}
	if c.active == nil {
		c.active = make(map[net.Conn]struct{})
	}
	c.active[conn] = struct{}{}
}

// quiet waits until no answer is being given.
func (c *connections) quiet(ctx context.Context) {
	poll(ctx, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.active) == 0
	})
}

// poll looks every few milliseconds, until done says so or ctx is over. It is
// for the end of a run, where simple is better than quick.
func poll(ctx context.Context, done func() bool) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
