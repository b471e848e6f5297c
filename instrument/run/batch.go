package run

import (
	"bytes"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// batch is events that go into the journal together, and their lines, each with its
// newline. The events have no Raw.
type batch struct {
	lines  []byte
	events []telemetry.Event
}

// add appends the event and its line, stamped with when it arrived, and gives the
// line's length.
func (b *batch) add(ev *telemetry.Event, elapsed time.Duration, start time.Time) int {
	before := len(b.lines)
	arrived := 0.0
	if !ev.TS.OK {
		arrived = seconds(start.Add(elapsed))
	}
	b.lines = append(ev.AppendStamped(b.lines, ev.Source, elapsed.Milliseconds(), arrived), '\n')
	ev.Raw = nil
	b.events = append(b.events, *ev)
	return len(b.lines) - before
}

// piece is how many of the events, and how many bytes their lines are, go in one
// write: at least one.
func (b *batch) piece() (events, size int) {
	if len(b.lines) <= maxBatch {
		return len(b.events), len(b.lines)
	}
	size = bytes.LastIndexByte(b.lines[:maxBatch], '\n') + 1
	if size == 0 {
		return 1, bytes.IndexByte(b.lines, '\n') + 1
	}
	return bytes.Count(b.lines[:size], []byte{'\n'}), size
}

// keptEvents is how many events a batch has room for when it waits to be used again.
const keptEvents = 1 << 14

// empty makes the batch ready to be used again, with no more memory than many need.
func (b *batch) empty() {
	if cap(b.lines) > 2*maxAhead || cap(b.events) > keptEvents {
		*b = batch{}
		return
	}
	clear(b.events) // they hold on to what they were read from
	b.lines, b.events = b.lines[:0], b.events[:0]
}
