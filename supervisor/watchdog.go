package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// WatchConfig is what [Watch] needs of the run.
type WatchConfig struct {
	Limits StallTimeout
	// Feed is the state of the run, and Elapsed its monotonic clock, that of recv_ms.
	Feed    *run.Feed
	Elapsed func() time.Duration
	// Record takes span_stalled, span_resumed and log events.
	Record func(telemetry.Event) error
	// PID is the process id of COMMAND, once it runs; 0: nothing is known of processes.
	PID int
	// Processes are those of COMMAND where they are followed anyway: one look serves both.
	Processes *Processes
	// LastOutput and LastInput tell when the terminal last showed something and when a
	// key was last pressed, with monotonic readings. Nil where obsrun does not see it:
	// without a pseudo-terminal.
	LastOutput, LastInput func() time.Time
	// OnStall, if it is there, is called once, with the first span_stalled.
	OnStall func(telemetry.Event)

	wall func() time.Time // tests set it
}

const (
	longestTick  = time.Second
	shortestTick = 50 * time.Millisecond
	// longestPause is how long the watchdog goes without looking at the spans: what
	// a kind's spans have shown can shorten its limit meanwhile.
	longestPause = 10 * time.Second
	// sleepGap is a delay of the watchdog that nothing but a suspended machine, a
	// stopped obsrun or a clock that was set explains.
	sleepGap = 3 * time.Second
)

// Watch looks for spans that are silent for longer than their limit, until ctx is
// done or the run has ended. It records one span_stalled with [Evidence] for each
// silence, and one span_resumed when that is over.
//
// What it cannot do: a span that is silent while others work is judged by its silence
// alone, since nobody can tell whose output and CPU time it is; and a program that
// redraws its screen while it hangs is taken to be alive.
//
// Silence is measured on the run's own clock from the arrival of events. Time that a
// suspended machine or a stopped obsrun lost is nobody's silence: it is one log event.
func Watch(ctx context.Context, c WatchConfig) {
	least, some := c.Limits.shortest()
	if !some {
		return
	}
	if c.wall == nil {
		c.wall = time.Now
	}
	w := &watchdog{
		WatchConfig: c,
		tick:        min(max(least/4, shortestTick), longestTick),
		origin:      moment{c.Elapsed(), time.Now()},
		judge:       newJudge(c.Limits, min(max(least/4, shortestTick), longestPause)),
	}
	switch {
	case c.Processes != nil:
		w.sample = c.Processes.look
	case c.PID > 0:
		tree := newProcessTree(c.PID, realKernel(), false)
		defer tree.kernel.close()
		w.sample = tree.look
	}
	w.run(ctx)
}

// watchdog is the loop around a judge.
type watchdog struct {
	WatchConfig
	tick   time.Duration
	judge  *judge
	sample func() processCount
	called bool // OnStall was
	// origin is one moment on the run's clock and on that of LastOutput and LastInput,
	// with its monotonic reading.
	origin moment
}

// moment is one reading of the run's clock and of the one on the wall.
type moment struct {
	run  time.Duration
	wall time.Time
}

func (w *watchdog) read() moment {
	return moment{w.Elapsed(), w.wall().Round(0)} // without its monotonic reading
}

func (w *watchdog) run(ctx context.Context) {
	timer := time.NewTimer(w.tick)
	defer timer.Stop()
	last, armed := w.read(), w.Elapsed()
	for {
		select {
		case <-ctx.Done():
			// What was heard of since the last look is told still.
			var events []telemetry.Event
			w.Feed.View(func(s *run.State) { events = w.judge.heardAgain(s) })
			w.tell(events)
			return
		case <-timer.C:
		}
		now := w.read()
		if gap := stoodStill(last, now, armed+w.tick); gap > 0 {
			w.judge.restart(now.run)
			w.note(gap)
		}
		last = now
		events, over := w.judge.look(now.run, w.Feed.View, w.signs(), w.sample)
		if !w.tell(events) || over {
			return
		}
		armed = w.Elapsed() // the look itself can take its time: the disk may be slow
		// When others look, too: a quiet program is woken once for all.
		timer.Reset(w.tick - time.Duration(w.wall().UnixNano())%w.tick)
	}
}

// stoodStill gives the time that is missing between two readings, 0 if it is no more
// than happens: obsrun did not run, or the wall clock went on without the other one.
func stoodStill(last, now moment, expected time.Duration) time.Duration {
	late := now.run - expected
	ahead := now.wall.Sub(last.wall) - (now.run - last.run)
	if max(late, ahead) < sleepGap {
		return 0
	}
	return max(late, 0) + max(ahead, 0)
}

func (w *watchdog) note(gap time.Duration) {
	_ = w.Record(telemetry.Event{
		Type: telemetry.Log, Level: "info", Source: telemetry.SourceObsrun,
		Message: fmt.Sprintf("the machine or obsrun was suspended for %v, or the clock was set: nobody's silence is counted over that time", gap.Round(100*time.Millisecond)),
		Attrs:   telemetry.Attrs(map[string]int64{"suspended_ms": gap.Milliseconds()}),
	})
}

// signs asks the terminal for signs of life.
func (w *watchdog) signs() signs {
	at := func(last func() time.Time) time.Duration {
		if last == nil {
			return unknown
		}
		return max(0, w.origin.run+last().Sub(w.origin.wall))
	}
	return signs{output: at(w.LastOutput), input: at(w.LastInput)}
}

// tell records events, and reports whether the run still takes any.
func (w *watchdog) tell(events []telemetry.Event) bool {
	for _, e := range events {
		err := w.Record(e)
		if e.Type == telemetry.SpanStalled {
			if err != nil {
				w.judge.forget(e.SpanID) // nobody knows of it: it is tried again
			}
			if w.OnStall != nil && !w.called {
				w.called = true
				w.OnStall(e)
			}
		}
		if errors.Is(err, run.ErrClosed) {
			return false
		}
	}
	return true
}
