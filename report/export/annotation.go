package export

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

const (
	// annotationPace is how often the run is looked at while it goes on.
	annotationPace = 500 * time.Millisecond
	// maxAnnotations is how many errors, and how many warnings, GitHub takes of a step
	// (https://github.com/actions/runner, ExecutionContext.AddIssue).
	maxAnnotations = 10
	// maxAnnotation bounds a message, in characters: with its escapes a line stays
	// below the 4096 bytes that a pipe takes in one piece.
	maxAnnotation = 500
)

// Annotator follows a run and gives GitHub Actions an annotation for each agent that
// failed or is lost (an error) and for each span that stalled (a warning), once, as
// a workflow command. At most ten of each; the rest is counted.
//
// Names and messages are text of others, and a line that begins with "::" is a
// command to the runner (CVE-2020-15228): they are made visible, so that there is no
// line end in them, and escaped as the runner's toolkit does it.
type Annotator struct {
	feed    *run.Feed
	write   func(line string)
	stop    context.CancelFunc
	done    chan struct{}
	once    sync.Once
	rev     int64
	failed  map[string]bool // by span id: told, or counted
	stalled map[string]bool

	errors, warnings int
}

// Annotate starts to follow the run. write gets one line at a time, with its newline,
// of less than 4096 bytes.
func Annotate(feed *run.Feed, write func(line string)) *Annotator {
	ctx, stop := context.WithCancel(context.Background())
	a := &Annotator{
		feed: feed, write: write, stop: stop, done: make(chan struct{}),
		failed: make(map[string]bool), stalled: make(map[string]bool),
	}
	go a.follow(ctx)
	return a
}

// Close looks a last time, when the run has ended, and gives how many errors and
// warnings found no place.
func (a *Annotator) Close() (errors, warnings int) {
	a.once.Do(func() {
		a.stop()
		<-a.done
		a.look()
	})
	return max(0, a.errors-maxAnnotations), max(0, a.warnings-maxAnnotations)
}

func (a *Annotator) follow(ctx context.Context) {
	defer close(a.done)
	ticker := time.NewTicker(annotationPace)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			a.look()
		case <-ctx.Done():
			return
		}
	}
}

// look tells what there is to tell since the last look.
func (a *Annotator) look() {
	var d run.Delta
	var ended bool
	a.feed.View(func(s *run.State) {
		if s.Rev() > a.rev {
			ended = s.Ended()
			if d = s.Since(a.rev, 0); ended { // lost is what did not change
				d.Spans = s.Since(0, 0).Spans
			}
			a.rev = d.Rev
		}
	})
	for _, stall := range d.Stalls {
		if !a.stalled[stall.SpanID] {
			a.stalled[stall.SpanID] = true
			a.tell("warning", &a.warnings, "Stalled", fmt.Sprintf("%s%s has been silent for %s", name(stall.Name), within(stall.Phase), report.Duration(stall.IdleMS)))
		}
	}
	for i := range d.Spans {
		v := &d.Spans[i]
		if !v.IsAgent || a.failed[v.ID] || v.State != run.Failed && v.State != run.Lost {
			continue
		}
		a.failed[v.ID] = true
		what, why := "Agent failed", cmp.Or(v.Error, "it gave no reason")
		if v.State == run.Lost {
			what, why = "Agent lost", "it was still open when the run ended"
		}
		a.tell("error", &a.errors, what, fmt.Sprintf("%s (%s)%s: %s", name(v.Name), name(v.Kind), within(v.Phase), shorten(report.Visible(why), maxAnnotation)))
	}
}

func within(phase string) string {
	if phase == "" {
		return ""
	}
	return " in " + name(phase)
}

// tell writes a command. The title has no text of others.
func (a *Annotator) tell(command string, count *int, what, text string) {
	if *count++; *count > maxAnnotations {
		return
	}
	a.write("::" + command + " title=" + what + "::" + commandData.Replace(text) + "\n")
}

// commandData are the escapes of a command's message
// (https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts).
var commandData = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
