package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/report/export"
)

func documentFlags() []cli.Flag {
	return []cli.Flag{
		stringFlag("junit", "", "write JUnit XML to `FILE` at the end: a test case for each agent"),
		stringFlag("markdown", "", "write the summary as Markdown to `FILE` at the end"),
		stringFlag("baseline", "", "compare with this `RUN` in the Markdown, and in the step summary on GitHub"),
	}
}

// documents are what a run writes for a CI system beside its directory: files that
// were asked for and, on GitHub Actions, the step's summary and annotations.
type documents struct {
	junit, markdown string // paths, empty for none
	baseline        string // as it was named
	github          bool
	step            string // path of the step's summary, empty for none

	before    *report.Summary // the baseline's
	annotator *export.Annotator
	// errors and warnings are annotations that found no place.
	errors, warnings int
	written          stepSummary
}

func documentsOf(c *cli.Context, quiet bool) documents {
	d := documents{junit: c.String("junit"), markdown: c.String("markdown"), baseline: c.String("baseline")}
	if os.Getenv("GITHUB_ACTIONS") == "true" && !quiet {
		d.github, d.step = true, os.Getenv("GITHUB_STEP_SUMMARY")
	}
	return d
}

// begin reads the baseline, which can be latest, so it is to be called before the run
// has a directory. A baseline that is not there is no fault of the run's: there is none
// yet when it first runs.
func (d *documents) begin(logDir string, w world) error {
	if d.baseline == "" {
		return nil
	}
	summary, err := summaryOf(logDir, d.baseline, w)
	if err != nil {
		return fmt.Errorf("--baseline %s: nothing is compared: %w", d.baseline, err)
	}
	d.before = &summary
	return nil
}

// annotate starts to tell GitHub what goes wrong. The command goes to stderr, where
// the child's own words go past obsrun: nobody knows whether its last line has ended,
// and what follows an open line is no command. So each begins a line of its own. On a
// terminal, where the child is, nothing is said.
func (d *documents) annotate(feed *run.Feed, stderr *os.File) {
	if d.github && !isTerminal(stderr) {
		d.annotator = export.Annotate(feed, func(line string) { _, _ = io.WriteString(stderr, "\n"+line) })
	}
}

// close tells GitHub the rest, now that the run has ended.
func (d *documents) close() {
	if d.annotator != nil {
		d.errors, d.warnings = d.annotator.Close()
	}
}

// deliver writes all of it, anew each time: at the run's end, and when a signal may
// be the last that is heard.
func (d *documents) deliver(dir string, feed *run.Feed) (faults []error) {
	write := func(path string, format export.Format) {
		if path == "" {
			return
		}
		text, err := rendered(feed, func(w io.Writer, state *run.State) error {
			return format.Write(w, export.Run{State: state, Dir: dir, Version: version, Baseline: d.before})
		})
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o777) // #nosec G301 -- for others to read, as the umask has it
		}
		if err == nil {
			err = writeOutput(path, false, func(f io.Writer) error { _, err := f.Write(text); return err })
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("write the run as %s: %w", format.Name, err))
		}
	}
	write(d.junit, export.Format{Name: "junit", Write: export.JUnit})
	write(d.markdown, export.Format{Name: "markdown", Write: export.Markdown})
	if d.step == "" {
		return faults
	}
	text, err := rendered(feed, func(w io.Writer, state *run.State) error {
		return export.MarkdownWithin(w, export.Run{State: state, Dir: dir, Version: version, Baseline: d.before}, d.written.room(d.step))
	})
	if err == nil && len(text) > 0 && d.errors+d.warnings > 0 {
		text = fmt.Appendf(text, "\nNot annotated, since GitHub takes no more of a step: %d failed agents, %d stalls.\n", d.errors, d.warnings)
	}
	if err == nil && len(text) > 0 {
		err = d.written.replace(d.step, text)
	}
	if err != nil {
		faults = append(faults, fmt.Errorf("write the step's summary: %w", err))
	}
	return faults
}

// rendered gives a document about the state as it is now. Writing it takes time in
// which the state is to go on, so it goes to memory first.
func rendered(feed *run.Feed, write func(io.Writer, *run.State) error) (text []byte, err error) {
	var b bytes.Buffer
	feed.View(func(state *run.State) { err = write(&b, state) })
	return b.Bytes(), err
}

// stepSummary is the part of GITHUB_STEP_SUMMARY that is ours. Other commands of the
// step append to the file, too.
type stepSummary struct {
	from, to int64 // of what was written; none: both 0
}

// room is how many bytes can be added: a file of more than 1 MiB is thrown away as a
// whole.
func (s *stepSummary) room(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return export.MaxMarkdown
	}
	size := info.Size()
	if s.to == size {
		size = s.from
	}
	return int(max(0, export.MaxMarkdown-size))
}

// replace appends the text, in place of what it appended before.
func (s *stepSummary) replace(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW, 0o666) // #nosec G302 -- for others to read, as the umask has it
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	switch {
	case s.to == 0:
		s.from = info.Size()
	case s.to != info.Size(): // somebody went on behind it
		return nil
	case f.Truncate(s.from) != nil:
		return nil
	}
	if s.from > 0 {
		text = append([]byte("\n"), text...)
	}
	if _, err := f.WriteAt(text, s.from); err != nil {
		return err
	}
	s.to = s.from + int64(len(text))
	return f.Close()
}
