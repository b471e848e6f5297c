package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/obsrun/obsrun/instrument/receiver"
	"github.com/obsrun/obsrun/instrument/receiver/gateway"
	"github.com/obsrun/obsrun/instrument/receiver/otlp"
	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/serve"
	"github.com/obsrun/obsrun/supervisor"
	"github.com/obsrun/obsrun/ui"
)

func doctorCommand(w world, command []string, dashes bool) *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "what would be captured from COMMAND, and what stands in the way",
		UsageText: "obsrun doctor [run flags] [-- COMMAND [ARG...]]",
		Description: "It starts nothing and leaves nothing behind. It takes the flags of a run, and looks at what a\n" +
			"run with them would: the environment, the log directory, obsrun.yaml, the address of the\n" +
			"dashboard, which it opens for a moment. Of environment variables it tells names, and no\n" +
			"values but those that obsrun would set itself.\n\n" +
			"The exit status is 0 where the run would start, whatever it would miss. Else it is what\n" +
			"the run would end with: 125 where obsrun could not run, 126 where COMMAND could not be\n" +
			"run, 127 where it was not found.",
		Flags: append(runFlags(), formatFlag()),
		Action: func(c *cli.Context) error {
			switch {
			case c.NArg() > 0:
				return usagef("write: obsrun doctor -- %s", strings.Join(c.Args().Slice(), " "))
			case dashes && len(command) == 0:
				return usagef("there is no COMMAND after --; write: obsrun doctor -- COMMAND")
			}
			format, err := formatOf(c)
			if err != nil {
				return err
			}
			settings := settingsOf(c, w) // before the file's are set as if they were flags
			opt, err := runOptions(c, w)
			if err != nil {
				return err
			}
			opt.command = command
			e := examination{w: w, opt: opt, d: report.NewDiagnosis(version)}
			e.d.Settings = settings
			e.examine(c.Context, c.String("otlp-export"))
			if format == "json" {
				err = report.WriteJSON(w.stdout, e.d)
			} else {
				err = report.DiagnosisText(w.stdout, e.d, textOptions(w.stdout))
			}
			if err == nil && e.d.Exit != 0 {
				return exitStatus(e.d.Exit)
			}
			return err
		},
	}
}

// examination looks at what a run would meet.
type examination struct {
	w     world
	opt   options
	d     report.Diagnosis
	scene scene
	base  string // of the dashboard's URL, empty where it is off
}

func (e *examination) fail(status int, err error) {
	e.d.Find(report.LevelError, "", maskSecrets([]string{err.Error()})[0])
	if e.d.Exit == 0 {
		e.d.Exit = status
	}
}

func (e *examination) note(text string) { e.d.Find(report.LevelNote, "", text) }

// examine does all of it, in the order in which a run would meet it.
func (e *examination) examine(ctx context.Context, export string) {
	e.scene = scene{env: e.w.env, opt: &e.opt, failed: make(map[string]error)}
	e.scene.dir, _ = os.Getwd()
	e.logDir()
	e.dashboard()
	if e.base != "" && !slices.Contains(e.opt.off, telemetry.SourceOTLP) {
		e.scene.plan = planExport(ctx, e.w.env, otlp.Address{
			Endpoint: e.base, Token: "TOKEN", RunID: "RUN_ID", Certificate: e.opt.tlsCert,
		})
	}
	metered := e.listen(ctx)
	e.sources(export)
	e.environment(metered)
	e.terminal()
	if len(e.opt.command) > 0 {
		program, warning, err := programOf(e.opt.command, e.w.env)
		program.Captured = captured(e.opt.command, &e.scene.plan, e.d.Sources)
		e.d.Command = &program
		var start *supervisor.StartError
		if errors.As(err, &start) {
			e.fail(start.Status, err)
		}
		if warning != "" {
			e.d.Find(report.LevelWarn, "", warning)
		}
	}
	if outer := lookup(e.w.env, "OBSRUN_RUN_ID"); outer != "" {
		e.d.OuterRunID = outer
		e.note("this is inside the run " + outer + ": a run here would be one of its own, and name that as its outer one")
	}
}

// logDir looks at where the run would be recorded.
func (e *examination) logDir() {
	p := &e.d.LogDir
	p.Path, p.Latest = absolute(e.opt.logDir), "nothing"
	err := writable(p.Path)
	p.Writable = err == nil
	if err != nil {
		e.fail(exitFailure, fmt.Errorf("log directory %s: %w; choose another with --log-dir", p.Path, err))
	}
	if info, err := os.Stat(p.Path); err == nil && info.IsDir() {
		p.Exists = true
	}
	latest := filepath.Join(p.Path, "latest")
	if info, err := os.Lstat(latest); err == nil {
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			p.Latest = "link"
			if target, err := filepath.EvalSymlinks(latest); err == nil && run.IsLive(target) {
				e.note(fmt.Sprintf("the run %s is live: %s would go on pointing to it", filepath.Base(target), latest))
			}
		case info.IsDir():
			p.Latest = "directory"
			e.note(latest + " is a directory: it would be moved to previous-TIMESTAMP beside it, for a link to the run")
		default:
			p.Latest = "file"
			e.note(latest + " is a file: it would be moved to previous-TIMESTAMP beside it, for a link to the run")
		}
	}
	for _, path := range toolCallPaths(filepath.Join(p.Path, "RUN_ID"), e.opt.logDir) {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 && !slices.Contains(e.opt.off, telemetry.SourceToolCalls) {
			e.d.Find(report.LevelNote, telemetry.SourceToolCalls, path+" is there: what stands in it by now is of an earlier run and left out")
		}
	}
}

// writable tells why a directory can not be written or made.
func writable(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir):
		if _, err := os.Lstat(dir); err == nil {
			return errors.New("it is a link to nowhere")
		}
		return writable(filepath.Dir(dir))
	case err != nil:
		return errors.Unwrap(err)
	case !info.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	}
	// Permissions do not tell all: some file systems take nothing from anybody.
	trial, err := os.MkdirTemp(dir, ".obsrun-")
	if err != nil {
		return fmt.Errorf("%s can not be written: %w", dir, errors.Unwrap(err))
	}
	_ = os.Remove(trial)
	return nil
}

// dashboard opens its address for a moment, as a run would.
func (e *examination) dashboard() {
	if e.opt.listen == "off" {
		e.d.Dashboard = report.Plan{Why: "--listen is off"}
		return
	}
	server, err := serve.Listen(serve.Config{
		RunID: "RUN_ID", Dir: e.d.LogDir.Path, Feed: run.NewFeed(), Page: ui.Page, Token: serve.NewToken(),
		AllowHosts: e.opt.allowHosts, Listen: e.opt.listen, TLSCert: e.opt.tlsCert, TLSKey: e.opt.tlsKey, Insecure: e.opt.insecure,
	})
	if err != nil {
		e.d.Dashboard = report.Plan{Why: err.Error()}
		e.fail(exitFailure, err)
		return
	}
	e.base = server.Base()
	_ = server.Shutdown(context.Background())
	if strings.HasSuffix(e.opt.listen, ":0") {
		e.base = e.base[:strings.LastIndexByte(e.base, ':')] + ":PORT"
	}
	e.d.Dashboard = report.Plan{On: true, Why: e.base}
}

// listen opens the other sources for a moment, and gives the variables that the
// gateway sets.
func (e *examination) listen(ctx context.Context) (metered []string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	socket, err := receiver.ListenSocket(func([]telemetry.Event) error { return nil }, func(context.Context) error { return nil })
	if err != nil {
		e.scene.failed[telemetry.SourceSocket] = err
		e.d.Find(report.LevelWarn, telemetry.SourceSocket, err.Error())
	} else {
		_ = socket.Close(ctx)
	}
	if e.opt.gateway == nil {
		return nil
	}
	g, err := gateway.Listen(gateway.Config{
		Record: func(telemetry.Event) error { return nil }, Upstreams: e.opt.gateway.upstreams, NamePatterns: e.opt.gateway.patterns,
	})
	if err != nil {
		e.scene.failed[telemetry.SourceGateway] = err
		e.d.Find(report.LevelWarn, telemetry.SourceGateway, err.Error())
		return nil
	}
	_ = g.Close(ctx)
	return g.Environment(e.w.env)
}

// sources says what each would do, and what stands in its way.
func (e *examination) sources(export string) {
	for _, c := range e.scene.sources() {
		if home := lookup(e.w.env, "HOME"); c.Source == telemetry.SourceBurr && c.On {
			if _, err := os.Stat(filepath.Join(home, ".burr")); err != nil {
				c.Why += "; there are none yet"
			}
		}
		e.d.Sources = append(e.d.Sources, report.Plan{Source: c.Source, On: c.On, Why: c.Why})
	}
	tee := report.Plan{Source: "tee", Why: "no OTLP endpoint is set whose place the run takes"}
	var targets []string
	for _, t := range []*otlp.Target{e.scene.plan.Targets.Traces, e.scene.plan.Targets.Logs, e.scene.plan.Targets.Metrics} {
		if t != nil {
			targets = append(targets, withoutSecrets(t.URL))
		}
	}
	if len(targets) > 0 {
		tee.On, tee.Why = true, "what comes by OTLP is forwarded to "+strings.Join(targets, ", ")
	}
	out := report.Plan{Source: "otlp-export", Why: "it is on only where --otlp-export asks for it"}
	if export != "" {
		out.On, out.Why = true, "the run is sent to "+withoutSecrets(export)
	}
	e.d.Sources = append(e.d.Sources, tee, out)
	for _, t := range e.scene.warnings() {
		level := report.LevelNote
		if t.warning {
			level = report.LevelWarn
		}
		e.d.Find(level, t.source, t.text)
	}
	for _, text := range e.scene.suggested() {
		e.d.Find(report.LevelNote, telemetry.SourceGateway, "with --gateway: "+text)
	}
}

// terminal says what COMMAND and the person would see.
func (e *examination) terminal() {
	e.d.Size = "80x24"
	for i, f := range []*os.File{e.w.stdin, e.w.stdout, e.w.stderr} {
		if !isTerminal(f) {
			continue
		}
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && len(e.d.Terminal) == 0 && w > 0 && h > 0 {
			e.d.Size = fmt.Sprintf("%dx%d", w, h)
		}
		e.d.Terminal = append(e.d.Terminal, []string{"stdin", "stdout", "stderr"}[i])
	}
	e.d.PTY = report.Plan{On: !e.opt.noPTY, Why: "COMMAND gets a pseudo-terminal as stdout"}
	if e.opt.noPTY {
		e.d.PTY.Why = "--no-pty: COMMAND gets obsrun's own stdin, stdout and stderr"
	}
	e.d.Recording = report.Plan{On: e.opt.record, Why: "terminal.cast has what the terminal shows"}
	switch {
	case e.opt.record:
	case e.opt.noPTY:
		e.d.Recording.Why = "there is no terminal to record with --no-pty"
	case e.set("no-record"):
		e.d.Recording.Why = "--no-record"
	default:
		e.d.Recording.Why = "CI is set, whose logs mask secrets as files do not; --record records all the same"
	}
	e.d.Browser = report.Plan{On: e.opt.open && e.base != "", Why: "stderr is a terminal, and there is a display"}
	switch {
	case e.base == "":
		e.d.Browser.Why = "there is no dashboard to open"
	case e.opt.open && e.set("open"):
		e.d.Browser.Why = "--open"
	case e.opt.open:
	case e.set("no-open"):
		e.d.Browser.Why = "--no-open"
	case inCI():
		e.d.Browser.Why = "CI is set; --open opens it all the same"
	case !isTerminal(e.w.stderr):
		e.d.Browser.Why = "stderr is no terminal; --open opens it all the same"
	default:
		e.d.Browser.Why = "neither DISPLAY nor WAYLAND_DISPLAY is set; --open opens it all the same"
	}
}

// set tells whether a flag is set, from wherever.
func (e *examination) set(name string) bool {
	return slices.ContainsFunc(e.d.Settings, func(s report.Setting) bool { return s.Name == name && s.Ignored == "" })
}
