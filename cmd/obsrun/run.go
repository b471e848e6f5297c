package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/report/export"
	"github.com/obsrun/obsrun/serve"
	"github.com/obsrun/obsrun/supervisor"
	"github.com/obsrun/obsrun/ui"
)

// killGrace is what the run has between TERM and KILL when a stall ends it.
const killGrace = 10 * time.Second

// youngFor is how long a run does without what only a longer one is the better for.
const youngFor = 50 * time.Millisecond

// session is one run with all that watches it. A part that could not be had is
// nil: a fault of telemetry never fails the run.
type session struct {
	w   world
	opt options

	dir      *run.Directory
	started  time.Time
	recorder *run.Recorder
	cast     *os.File
	recorded *supervisor.Cast
	signal   os.Signal // the first that interrupted the run
	sources
	server  *serve.Server
	export  *export.Live
	subject chan struct{} // closed when the work tree was looked at
	unwatch func()        // stops the watchdog
	ready   *supervisor.Prepared
	process *supervisor.Process
	// processes are those of the child.
	processes *supervisor.Processes
	stalled   chan struct{} // closed when a stall ended the run
	faults    []string      // told at the end
}

// runCommand starts COMMAND, supervises and records it, shows it, sums it up.
func runCommand(ctx context.Context, w world, opt options) error {
	processors := supervisor.Processors
	if !opt.noPTY {
		processors += supervisor.KernelWaits // without a terminal there are none
	}
	more := time.AfterFunc(youngFor, func() { runtime.GOMAXPROCS(processors) })
	defer more.Stop()
	ready := supervisor.Prepare(supervisor.Command{
		Args: opt.command, NoPTY: opt.noPTY, Stdin: w.stdin, Stdout: w.stdout, Stderr: w.stderr,
	})
	defer ready.Close()
	s, err := prepare(ctx, w, opt)
	if err != nil {
		return err
	}
	s.ready = ready
	var exit supervisor.Exit
	err = s.start()
	if err == nil {
		exit = s.process.Wait()
	}
	return s.finish(ctx, exit, err)
}

// prepare brings up everything that has to stand before the child starts. What
// fails here fails obsrun, before anything was run.
func prepare(ctx context.Context, w world, opt options) (*session, error) {
	if opt.shown == nil {
		opt.shown = opt.command
	}
	if opt.name == "" {
		opt.name = nameOf(opt.command)
	}
	baseline := opt.documents.begin(opt.logDir, w)
	s := &session{w: w, opt: opt, started: time.Now(), stalled: make(chan struct{}), subject: make(chan struct{})}
	var err error
	if s.dir, err = run.Create(opt.logDir, run.NewID(opt.name, s.started), s.started); err != nil {
		return nil, err
	}
	if s.recorder, err = run.NewRecorder(s.dir.Path, time.Now); err != nil {
		s.dir.Close()
		return nil, err
	}
	_ = s.recorder.Begin(s.dir.RunID, s.attrs())
	for _, note := range s.dir.Notes {
		s.recorder.Note("warn", note)
	}
	if baseline != nil {
		s.fault(baseline)
	}
	s.opt.documents.annotate(s.recorder.Feed(), w.stderr)
	go s.lookAtWorkTree(ctx)
	if err := s.serve(ctx); err != nil {
		s.writeManifest()
		return nil, s.finish(ctx, supervisor.Exit{}, &supervisor.StartError{Status: exitFailure, Err: err})
	}
	s.listen()
	s.startExport()
	s.record()
	s.writeManifest()
	return s, nil
}

// attrs are what is known of the run when it starts.
func (s *session) attrs() map[string]any {
	attrs := map[string]any{
		"run_id": s.dir.RunID, "command": maskSecrets(s.opt.shown),
		"obsrun_version": version, "schema": telemetry.SchemaVersion,
	}
	put := func(key, value string) {
		if value != "" {
			attrs[key] = value
		}
	}
	cwd, _ := os.Getwd()
	host, _ := os.Hostname()
	put("cwd", cwd)
	put("host", host)
	put("source_repo", s.opt.sourceRepo)
	put("source_commit", s.opt.sourceCommit)
	put("outer_run_id", lookup(s.w.env, "OBSRUN_RUN_ID"))
	return attrs
}

// lookAtWorkTree records what the run is about where nobody says so. It runs beside the
// child: git may have to be asked.
func (s *session) lookAtWorkTree(ctx context.Context) {
	defer close(s.subject)
	if s.opt.sourceRepo != "" || s.opt.sourceCommit != "" {
		return
	}
	dir, err := os.Getwd()
	if err != nil {
		return
	}
	if repo, commit := workTree(ctx, dir, s.w.env); commit != "" {
		_ = s.recorder.Record(telemetry.Event{
			Type: telemetry.SpanUpdate, SpanID: s.recorder.RootID(), Source: telemetry.SourceObsrun,
			Attrs: telemetry.Attrs(map[string]any{"source_repo": repo, "source_commit": commit, "source_from": "cwd"}),
		})
	}
}

// serve opens the dashboard's address.
func (s *session) serve(ctx context.Context) error {
	if s.opt.listen == "off" {
		return nil
	}
	token := serve.NewToken()
	server, err := serve.Listen(serve.Config{
		RunID: s.dir.RunID, Dir: s.dir.Path, Feed: s.recorder.Feed(),
		Last: lastOf(s.dir.Path, s.recorder.Feed().View), Page: ui.Page, Token: token, Routes: s.otlpRoutes(),
		AllowHosts: s.opt.allowHosts, Listen: s.opt.listen, TLSCert: s.opt.tlsCert, TLSKey: s.opt.tlsKey, Insecure: s.opt.insecure,
		Fault: func(err error) { s.recorder.Note("warn", err.Error()) },
	})
	if err != nil {
		return err
	}
	s.server = server
	s.openOTLP(ctx, server.Base(), token)
	go func() {
		if err := server.Serve(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.recorder.Note("warn", err.Error())
		}
	}()
	return nil
}

func (s *session) record() {
	if !s.opt.record {
		return
	}
	file, err := os.OpenFile(run.CastPath(s.dir.Path), os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		s.fault(fmt.Errorf("record the terminal: %w", err))
		return
	}
	s.cast = file
}

func (s *session) writeManifest() {
	m := run.Manifest{
		RunID: s.dir.RunID, PID: os.Getpid(), URL: s.url(), Started: s.started.UTC(),
		Command: maskSecrets(s.opt.shown), Version: version,
	}
	if err := report.WriteFile(run.ManifestPath(s.dir.Path), m); err != nil {
		s.fault(err)
	}
}

func (s *session) url() string {
	if s.server == nil {
		return ""
	}
	return s.server.URL()
}

// fault tells of something that went wrong beside the run.
func (s *session) fault(err error) { s.recorder.Note("warn", err.Error()) }

// start tells where the run can be seen and starts the child.
func (s *session) start() error {
	if isTerminal(s.w.stderr) && !s.opt.quiet {
		if s.server == nil {
			say(s.w.stderr, "run %s", s.dir.RunID)
		} else {
			say(s.w.stderr, "run %s, dashboard %s", s.dir.RunID, s.url())
		}
	}
	if s.server != nil && s.opt.open {
		openBrowser(s.server.OpenURL(), func(err error) { s.fault(fmt.Errorf("open the browser: %w", err)) })
	}
	if s.cast != nil {
		s.recorded = supervisor.NewCast(s.cast)
	}
	process, err := s.ready.Start(s.environment(), s.recorded, s.interrupted)
	if err != nil {
		return err
	}
	s.process = process
	// Package json looks at a type when it first meets one, which for a summary takes
	// longer than to write it. Now there is time.
	go func() { _, _ = json.Marshal(report.Summary{}) }()
	s.follow()
	s.watch()
	return nil
}

// follow starts recording the child's processes.
func (s *session) follow() {
	if slices.Contains(s.opt.off, telemetry.SourceProcess) {
		return
	}
	s.processes = supervisor.FollowProcesses(supervisor.ProcessConfig{
		PID: s.process.PID(), Args: s.opt.shown, Root: s.recorder.RootID(), Record: s.recorder.Record, Mask: maskSecrets,
	})
}

// watch starts the watchdog.
func (s *session) watch() {
	config := supervisor.WatchConfig{
		Limits: s.opt.stall, Feed: s.recorder.Feed(), Elapsed: s.recorder.Elapsed, Record: s.recorder.Record,
		PID: s.process.PID(), Processes: s.processes, OnStall: s.onStall,
	}
	if !s.opt.noPTY {
		config.LastOutput, config.LastInput = s.process.LastOutput, s.process.LastInput
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		supervisor.Watch(ctx, config)
	}()
	s.unwatch = func() { stop(); <-done }
}

// interrupted writes a summary that will do if nobody lets obsrun write another:
// CI systems kill without asking twice.
func (s *session) interrupted(signal os.Signal) {
	s.signal = signal
	s.recorder.Interrupted(signal.String())
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.recorder.Sync(ctx)
	s.writeSummary()
	s.opt.documents.deliver(s.dir.Path, s.recorder.Feed())
}

func (s *session) onStall(telemetry.Event) {
	if s.opt.killOnStall {
		close(s.stalled)
		s.process.Terminate(killGrace)
	}
}

func (s *session) writeSummary() (summary report.Summary) {
	s.recorder.Feed().View(func(state *run.State) { summary = report.Summarize(state) })
	if err := summary.Write(run.SummaryPath(s.dir.Path)); err != nil {
		s.faults = append(s.faults, err.Error())
	}
	return summary
}

// finish is the one way out, however the run went. startErr says that there was
// no child.
func (s *session) finish(ctx context.Context, exit supervisor.Exit, startErr error) error {
	closing, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s.closeSources(closing)
	if s.unwatch != nil {
		s.unwatch()
	}
	if s.processes != nil {
		s.processes.Close(exit)
	}
	<-s.subject
	s.closeCast()

	status, attrs, reason := s.verdict(closing, exit, startErr)
	if err := s.recorder.Finish(status, attrs); err != nil {
		s.faults = append(s.faults, err.Error())
	}
	summary := s.writeSummary()
	_ = s.dir.Close() // the run is over: what reads it now reads a finished one
	s.closeExport(ctx, exit.Interrupted)
	s.opt.documents.close()
	for _, err := range s.opt.documents.deliver(s.dir.Path, s.recorder.Feed()) {
		s.faults = append(s.faults, err.Error())
	}
	if s.server != nil {
		s.server.Settle(ctx)
	}
	s.tell(summary, reason)
	if s.server != nil {
		if !exit.Interrupted {
			s.keepOpen(ctx)
		}
		shutdown, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_ = s.server.Shutdown(shutdown)
	}
	if s.process != nil {
		s.process.Close()
	}
	if startErr != nil {
		return startErr
	}
	if code := attrs["obsrun_exit"].(int); code != 0 {
		return exitStatus(code)
	}
	return nil
}

func (s *session) closeCast() {
	if s.cast == nil {
		return
	}
	err := s.cast.Close()
	if s.recorded == nil { // nothing was started
		_ = os.Remove(s.cast.Name())
	}
	if s.recorded != nil && s.recorded.Err() != nil {
		err = s.recorded.Err()
	}
	if err != nil {
		s.fault(fmt.Errorf("record the terminal: %w", err))
	}
}
