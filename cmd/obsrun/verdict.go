package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/supervisor"
)

// verdict is how the run ended: the status and attrs of the root's end, and why
// obsrun's exit status is not the child's.
func (s *session) verdict(ctx context.Context, exit supervisor.Exit, startErr error) (status string, attrs map[string]any, reason string) {
	var start *supervisor.StartError
	if errors.As(startErr, &start) {
		return telemetry.StatusError, map[string]any{"exit_code": start.Status, "obsrun_exit": start.Status, "error": maskSecrets([]string{startErr.Error()})[0]}, ""
	}
	code := exit.Code
	if exit.Err != nil {
		s.fault(exit.Err)
	}
	if exit.Stdout != nil && !errors.Is(exit.Stdout, syscall.EPIPE) {
		s.fault(fmt.Errorf("write to stdout: %w", exit.Stdout))
		if code == 0 {
			code, reason = exitFailure, "not all output could be written"
		}
	}
	if err := s.recorder.Sync(ctx); err != nil {
		s.fault(err)
	}
	select {
	case <-s.stalled:
		code, reason = 124, "a stall ended the run (--on-stall kill)"
	default:
		if code == 0 {
			if reason = s.failure(); reason != "" {
				code = 3
			}
		}
	}
	attrs = map[string]any{"exit_code": exit.Code, "obsrun_exit": code}
	if exit.Signal != 0 {
		attrs["signal"] = exit.Signal.String()
	}
	if len(exit.Survivors) > 0 {
		var names []string
		for _, p := range exit.Survivors {
			names = append(names, fmt.Sprintf("%s (pid %d)", p.Name, p.PID))
		}
		attrs["survivors"] = names
	}
	s.recorder.Feed().View(func(state *run.State) { attrs["peak_parallel_agents"] = state.MaxParallel("") })
	switch {
	case exit.Code != 0:
		status = telemetry.StatusError
	default:
		status = telemetry.StatusOK
	}
	if exit.Interrupted && s.signal == nil {
		attrs["interrupted"] = "signal"
	}
	return status, attrs, reason
}

// failure says what of --fail-on was met, empty where nothing was.
func (s *session) failure() (reason string) {
	s.recorder.Feed().View(func(state *run.State) {
		if failed, lost := state.Casualties(); s.opt.failOnError && failed+lost > 0 {
			reason = fmt.Sprintf("agents in error: %d, lost: %d (--fail-on error)%s; see %s", failed, lost, casualties(state), s.dir.Path)
		}
		if !s.opt.failOnStall {
			return
		}
		for _, stall := range state.Stalls() {
			if stall.Open {
				reason = fmt.Sprintf("%s was still stalled at the end (--fail-on stall)", report.Visible(stall.Name))
			}
		}
	})
	return reason
}

// casualties names the first few agents that failed or are lost, and why.
func casualties(state *run.State) string {
	const most = 3
	var names []string
	for span := range state.Spans() {
		if !span.IsAgent || span.State == run.Done || span.State == run.Cancelled {
			continue
		}
		name := span.Name
		if span.State != run.Failed {
			name += " (lost)"
		} else if span.Error != "" {
			name += " (" + span.Error + ")"
		}
		if names = append(names, clipped(report.Visible(name), 200)); len(names) == most {
			break
		}
	}
	return ": " + strings.Join(names, ", ")
}

// clipped bounds a text, in characters.
func clipped(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// tell prints what a person should know of the run now that it is over.
func (s *session) tell(summary report.Summary, reason string) {
	brief := isTerminal(s.w.stderr) && !s.opt.quiet
	if brief {
		if err := report.Brief(s.w.stderr, summary, textOptions(s.w.stderr)); err == nil {
			fmt.Fprintf(s.w.stderr, "files in %s\n", report.Visible(s.dir.Path))
		}
	}
	for _, warning := range summary.Warnings {
		if warning.Source == telemetry.SourceObsrun && !brief { // which has them, too
			say(s.w.stderr, "%s", report.Visible(warning.Message))
		}
	}
	for _, fault := range s.faults {
		say(s.w.stderr, "%s", fault)
	}
	if reason != "" {
		say(s.w.stderr, "exit %d: %s", *summary.ObsrunExit, reason)
	}
}

// keepOpen goes on serving for as long as was asked.
func (s *session) keepOpen(ctx context.Context) {
	if s.opt.keepOpen == 0 {
		return
	}
	if isTerminal(s.w.stderr) && !s.opt.quiet {
		say(s.w.stderr, "the dashboard stays open at %s; Ctrl-C closes it", s.url())
	}
	var timeout <-chan time.Time
	if s.opt.keepOpen > 0 {
		timeout = time.After(s.opt.keepOpen)
	}
	var late <-chan os.Signal
	if s.process != nil {
		late = s.process.Late()
	}
	select {
	case <-ctx.Done():
	case <-late:
	case <-timeout:
	}
}
