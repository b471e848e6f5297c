package main

import (
	"context"
	"encoding/hex"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/obsrun/obsrun/instrument/receiver"
	"github.com/obsrun/obsrun/instrument/receiver/gateway"
	"github.com/obsrun/obsrun/instrument/receiver/otlp"
	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/serve"
)

// switchable are the sources that --source can switch off.
var switchable = []string{telemetry.SourceToolCalls, telemetry.SourceBurr, telemetry.SourceOTLP, telemetry.SourceProcess}

// sources are the receivers of a run. One that could not be had is nil: the run
// goes on without it.
type sources struct {
	socket  *receiver.Socket
	otlp    *otlp.Receiver
	plan    otlp.Plan
	gateway *gateway.Gateway
	closing []func(context.Context) error // in this order
	failed  map[string]error              // those that could not be had
}

// lack takes note that a source could not be had.
func (s *session) lack(source string, err error) {
	if s.failed == nil {
		s.failed = make(map[string]error)
	}
	s.failed[source] = err
	s.fault(err)
}

// scene is what decides which sources can tell of this run.
func (s *session) scene() *scene {
	dir, _ := os.Getwd()
	return &scene{env: s.w.env, dir: dir, opt: &s.opt, plan: s.plan, failed: s.failed}
}

// listen opens the sources that do not depend on the dashboard's server. What
// stands in a log by now is of an earlier run.
func (s *session) listen() {
	record := s.recorder.Record
	if s.opt.gateway != nil {
		s.openGateway()
	}
	socket, err := receiver.ListenSocket(s.recorder.RecordAll, s.recorder.Sync)
	if err != nil {
		s.lack(telemetry.SourceSocket, err)
	} else {
		s.socket = socket
		s.closing = append(s.closing, socket.Close)
	}
	if !slices.Contains(s.opt.off, telemetry.SourceToolCalls) {
		s.closing = append(s.closing, receiver.FollowToolCalls(record, time.Local, toolCallPaths(s.dir.Path, s.opt.logDir)...).Close)
	}
	if home := lookup(s.w.env, "HOME"); home != "" && !slices.Contains(s.opt.off, telemetry.SourceBurr) {
		s.closing = append(s.closing, receiver.FollowBurr(record, time.Local, home).Close)
	}
	if s.otlp != nil {
		s.closing = append(s.closing, func(ctx context.Context) error { s.otlp.Close(ctx); return nil })
	}
	s.tellSources(s.scene().sources())
}

// tellSources records, in the attrs of the root span, which sources the run
// listens to and why.
func (s *session) tellSources(list []run.Capture) {
	type plan struct {
		On   bool   `json:"on"`
		Why  string `json:"why"`
		Hint string `json:"hint,omitempty"`
	}
	sources := make(map[string]plan)
	for _, c := range list {
		sources[c.Source] = plan{c.On, c.Why, c.Hint}
	}
	_ = s.recorder.Record(telemetry.Event{
		Type: telemetry.SpanUpdate, SpanID: s.recorder.RootID(), Source: telemetry.SourceObsrun,
		Attrs: telemetry.Attrs(map[string]any{"sources": sources}),
	})
}

// explainSilence records the likely reasons why a source told nothing.
func (s *session) explainSilence() {
	var came []run.Capture
	s.recorder.Feed().View(func(state *run.State) { came = state.Sources() })
	scene := s.scene()
	hints := scene.hints(came)
	if len(hints) == 0 {
		return
	}
	list := scene.sources()
	for i := range list {
		list[i].Hint = hints[list[i].Source]
	}
	s.tellSources(list)
}

// toolCallPaths are where an orchestrator may write its tool_calls.jsonl: into
// its run's directory, or into logs/latest because it always did.
func toolCallPaths(runDir, logDir string) []string {
	var paths []string
	for _, dir := range []string{runDir, filepath.Join(logDir, "latest"), filepath.Join("logs", "latest")} {
		if path := absolute(filepath.Join(dir, "tool_calls.jsonl")); !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// otlpRoutes are the paths that OpenTelemetry exporters post to, on the
// dashboard's server. The receiver is made by openOTLP, which knows the address.
func (s *session) otlpRoutes() []serve.Route {
	if slices.Contains(s.opt.off, telemetry.SourceOTLP) {
		return nil
	}
	var routes []serve.Route
	for _, path := range otlp.Paths() {
		routes = append(routes, serve.Route{Method: http.MethodPost, Path: path, Handler: http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) { s.otlp.ServeHTTP(w, r) })})
	}
	return routes
}

// openOTLP makes the receiver, and plans what the child must see to send there.
func (s *session) openOTLP(ctx context.Context, base, token string) {
	if slices.Contains(s.opt.off, telemetry.SourceOTLP) {
		return
	}
	s.plan = planExport(ctx, s.w.env, otlp.Address{
		Endpoint: base, Token: token, RunID: s.dir.RunID, Certificate: s.opt.tlsCert,
	})
	for _, note := range s.plan.Notes {
		s.recorder.Note("info", note)
	}
	tee, err := otlp.NewTee(s.plan.Targets, s.recorder.Record)
	if err != nil {
		s.fault(err)
	}
	s.otlp = otlp.New(s.recorder.RecordAll, tee)
}

// collectorPort is that of otlp.DefaultCollector.
const collectorPort = 4318

// somebodyListens tells whether a port of this machine can be connected to, which is
// known long before a name was resolved and a request was made.
func somebodyListens(port int) bool {
	for _, host := range []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback} {
		if refused(host, port) {
			continue
		}
		if conn, err := net.DialTimeout("tcp", net.JoinHostPort(host.String(), strconv.Itoa(port)), 100*time.Millisecond); err == nil {
			conn.Close()
			return true
		}
	}
	return false
}

// refused tells whether this machine refuses a connection to itself on the spot, as it
// does nearly always where nobody listens. Package net prepares for waiting first, which
// takes ten times as long.
func refused(host net.IP, port int) bool {
	family, address := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Port: port, Addr: [16]byte(host.To16())})
	if four := host.To4(); four != nil {
		family, address = syscall.AF_INET, &syscall.SockaddrInet4{Port: port, Addr: [4]byte(four)}
	}
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		return false
	}
	if err = syscall.Connect(fd, address); err == syscall.EINPROGRESS {
		if reason, e := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR); e == nil {
			err = syscall.Errno(reason)
		}
	}
	return err == syscall.ECONNREFUSED || err == syscall.EADDRNOTAVAIL // without IPv6
}

// planExport plans what the child must see to export to the address.
func planExport(ctx context.Context, env []string, at otlp.Address) otlp.Plan {
	collector := ""
	if somebodyListens(collectorPort) && otlp.Answers(ctx, otlp.DefaultCollector) {
		collector = otlp.DefaultCollector
	}
	return otlp.Environment(env, at, collector)
}

// gatewayOptions are what --gateway and its companions say.
type gatewayOptions struct {
	upstreams []gateway.Upstream
	patterns  []*regexp.Regexp
}

func (s *session) openGateway() {
	g, err := gateway.Listen(gateway.Config{
		Record: s.recorder.Record, Upstreams: s.opt.gateway.upstreams, NamePatterns: s.opt.gateway.patterns,
		RootSpan: s.recorder.RootID(), TraceID: s.traceID(),
	})
	if err != nil {
		s.lack(telemetry.SourceGateway, err)
		return
	}
	if dir, err := os.Getwd(); err == nil {
		for _, note := range gateway.Notes(s.opt.gateway.upstreams, dir, s.w.env) {
			s.recorder.Note("warn", note)
		}
	}
	s.gateway = g
	s.closing = append(s.closing, g.Close)
}

// traceID is that of the run's own trace where the program's spans arrive, else
// empty.
func (s *session) traceID() string {
	if s.otlp == nil {
		return ""
	}
	id := telemetry.TraceID(s.dir.RunID)
	return hex.EncodeToString(id[:])
}

// closeSources takes what is still on its way, and ends the sources.
func (s *session) closeSources(ctx context.Context) {
	for _, end := range s.closing {
		if err := end(ctx); err != nil {
			s.fault(err)
		}
	}
	if s.process == nil {
		return // nothing was started, so nobody was silent
	}
	if err := s.recorder.Sync(ctx); err == nil {
		s.explainSilence()
	}
}
