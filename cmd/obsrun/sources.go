package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/obsrun/obsrun/instrument/receiver"
	"github.com/obsrun/obsrun/instrument/receiver/gateway"
	"github.com/obsrun/obsrun/instrument/receiver/otlp"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/serve"
)

// switchable are the sources that --source can switch off.
var switchable = []string{telemetry.SourceToolCalls, telemetry.SourceBurr, telemetry.SourceOTLP}

// defaultCollector is where an exporter sends that nobody configured.
const defaultCollector = "http://localhost:4318"

// sources are the receivers of a run. One that could not be had is nil: the run
// goes on without it.
type sources struct {
	socket  *receiver.Socket
	otlp    *otlp.Receiver
	plan    otlp.Plan
	gateway *gateway.Gateway
	closing []func(context.Context) error // in this order
}

// listen opens the sources that do not depend on the dashboard's server. What
// stands in a log by now is of an earlier run.
func (s *session) listen() {
	record := s.recorder.Record
	if s.opt.gateway != nil {
		s.openGateway()
	}
	socket, err := receiver.ListenSocket(record, s.recorder.Sync)
	if err != nil {
		s.fault(err)
	} else {
		s.socket = socket
		s.closing = append(s.closing, socket.Close)
	}
	if !slices.Contains(s.opt.off, telemetry.SourceToolCalls) {
		s.closing = append(s.closing, receiver.FollowToolCalls(record, time.Local, s.toolCallPaths()...).Close)
	}
	if home := lookup(s.w.env, "HOME"); home != "" && !slices.Contains(s.opt.off, telemetry.SourceBurr) {
		s.closing = append(s.closing, receiver.FollowBurr(record, time.Local, home).Close)
	}
	if s.otlp != nil {
		s.closing = append(s.closing, func(ctx context.Context) error { s.otlp.Close(ctx); return nil })
	}
}

// toolCallPaths are where an orchestrator may write its tool_calls.jsonl: into
// its run's directory, or into logs/latest because it always did.
func (s *session) toolCallPaths() []string {
	var paths []string
	for _, dir := range []string{s.dir.Path, filepath.Join(s.opt.logDir, "latest"), filepath.Join("logs", "latest")} {
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
	collector := ""
	if otlp.Answers(ctx, defaultCollector) {
		collector = defaultCollector
	}
	s.plan = otlp.Environment(s.w.env, otlp.Address{Endpoint: base, Token: token, RunID: s.dir.RunID}, collector)
	for _, note := range s.plan.Notes {
		s.recorder.Note("info", note)
	}
	tee, err := otlp.NewTee(s.plan.Targets, s.recorder.Record)
	if err != nil {
		s.fault(err)
	}
	s.otlp = otlp.New(s.recorder.Record, tee)
}

// gatewayOptions are what --gateway and its companions say.
type gatewayOptions struct {
	upstreams []gateway.Upstream
	patterns  []*regexp.Regexp
}

func (s *session) openGateway() {
	g, err := gateway.Listen(gateway.Config{
		Record: s.recorder.Record, Upstreams: s.opt.gateway.upstreams, NamePatterns: s.opt.gateway.patterns,
		RootSpan: s.recorder.RootID(),
	})
	if err != nil {
		s.fault(err)
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

// closeSources takes what is still on its way, and ends the sources.
func (s *session) closeSources(ctx context.Context) {
	for _, end := range s.closing {
		if err := end(ctx); err != nil {
			s.fault(err)
		}
	}
}
