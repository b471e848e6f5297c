package run

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/obsrun/obsrun/instrument/journal"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// ErrClosed is what Record returns after the run's end.
var ErrClosed = errors.New("the run has ended")

// ErrFull is what Record returns while the journal can not be written and no
// more is kept: the event is lost and counted.
var ErrFull = errors.New("the journal can not be written, and its buffer is full")

// RefusedError says why an event is not taken.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "refused: " + e.Reason }

const (
	// maxAhead bounds the lines that wait to be written while they can be: whoever
	// records more has to wait. While the disk fails nobody waits, and what comes
	// beyond maxPending is lost.
	maxAhead   = 512 << 10
	maxPending = 8 << 20
	// maxBatch bounds one write.
	maxBatch   = 1 << 20
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
)

// Recorder is the one door: it stamps every event, appends it to the journal,
// and only then folds it into the state that readers see. Under load many lines
// go in one write; a single one goes at once.
type Recorder struct {
	feed    *Feed
	rootID  string
	start   time.Time
	now     func() time.Time
	append  func([]byte) error
	close   func() error
	refused *rejectLog

	mu       sync.Mutex
	pending  batch
	bytes    int           // of lines that are not written yet
	recorded uint64        // events taken in
	written  uint64        // of those, the ones journaled and folded, or given up
	progress chan struct{} // closed when written grew; nil while nobody waits for it
	more     chan struct{} // there is something to write
	idle     bool          // the writer waits to be told so
	closed   bool
	failing  error
	lost     int64 // events lost to a full disk, not yet told
	lostEver int64
	done     chan struct{}
}

// NewSpanID makes an id as W3C trace context has it: 16 hex digits.
func NewSpanID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// NewRecorder begins the record of a run in its directory: the journal and, when
// there is something in it, rejected.jsonl. now is the clock; the run starts with
// this call.
func NewRecorder(dir string, now func() time.Time) (*Recorder, error) {
	w, err := journal.Create(JournalPath(dir))
	if err != nil {
		return nil, err
	}
	r := &Recorder{
		feed: NewFeed(), rootID: NewSpanID(), start: now(), now: now, append: w.Append, close: w.Close,
		refused: &rejectLog{path: RejectedPath(dir)},
		more:    make(chan struct{}, 1), done: make(chan struct{}),
	}
	go r.write()
	return r, nil
}

// Feed is the state of the run as it grows.
func (r *Recorder) Feed() *Feed { return r.feed }

// RootID is the span id of the run itself.
func (r *Recorder) RootID() string { return r.rootID }

// Elapsed is how long the run has been going: the clock of recv_ms.
func (r *Recorder) Elapsed() time.Duration { return r.now().Sub(r.start) }

// Begin records the start of the run with its attrs.
func (r *Recorder) Begin(name string, attrs map[string]any) error {
	return r.Record(telemetry.Event{
		Type: telemetry.SpanStart, SpanID: r.rootID, Kind: telemetry.KindRun, Name: name,
		Source: telemetry.SourceObsrun, Attrs: telemetry.Attrs(attrs), TS: telemetry.F(seconds(r.start)),
	})
}

// Note records a log event of obsrun's own: a fault of telemetry is told, and
// fails nothing.
func (r *Recorder) Note(level, message string) {
	_ = r.Record(telemetry.Event{Type: telemetry.Log, Level: level, Message: message, Source: telemetry.SourceObsrun})
}

// Record takes in an event from a receiver. The line that it was decoded from can be
// changed when it returns. What is no valid event goes to rejected.jsonl and is no
// error. It waits while the disk is slow.
func (r *Recorder) Record(ev telemetry.Event) error {
	one := [1]telemetry.Event{ev}
	return r.record(one[:], true)
}

// RecordAll is Record for events that came together, one after the other. The slice
// itself can be used again when it returns. The error is the first of any of them.
func (r *Recorder) RecordAll(events []telemetry.Event) error { return r.record(events, true) }

// record is RecordAll; bounded is false for what the writer tells itself, which
// finds room in any case.
func (r *Recorder) record(events []telemetry.Event, bounded bool) error {
	var first error
	for len(events) > 0 {
		n := 0
		for n < len(events) && r.takes(&events[n]) {
			n++
		}
		err := r.put(events[:n], bounded)
		if n < len(events) {
			err = cmp.Or(err, r.reject(&events[n]))
			n++
		}
		first = cmp.Or(first, err)
		events = events[n:]
	}
	return first
}

// takes tells whether the event goes into the journal.
func (r *Recorder) takes(ev *telemetry.Event) bool {
	return ev.Fault == "" && (ev.Type != telemetry.SpanEnd || ev.SpanID != r.rootID || ev.Source == telemetry.SourceObsrun)
}

// put appends the events to what is pending.
func (r *Recorder) put(events []telemetry.Event, bounded bool) (first error) {
	if len(events) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	elapsed := r.now().Sub(r.start)
	for i := range events {
		for bounded && r.bytes >= maxAhead && r.failing == nil && !r.closed {
			progress := r.awaited()
			r.mu.Unlock()
			<-progress
			r.mu.Lock()
			elapsed = r.now().Sub(r.start)
		}
		switch {
		case r.closed:
			return cmp.Or(first, ErrClosed)
		case bounded && r.bytes >= maxPending:
			r.lost++
			r.lostEver++
			first = cmp.Or(first, ErrFull)
			continue
		}
		r.bytes += r.pending.add(&events[i], elapsed, r.start)
		r.recorded++
		r.poke()
	}
	return first
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// poke wakes the writer where it waits. The caller has the lock.
func (r *Recorder) poke() {
	if !r.idle {
		return
	}
	r.idle = false
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// awaited gives the channel that is closed when more was written. The caller has
// the lock.
func (r *Recorder) awaited() <-chan struct{} {
	if r.progress == nil {
		r.progress = make(chan struct{})
	}
	return r.progress
}

// Sync waits until everything recorded before is in the journal.
func (r *Recorder) Sync(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for upTo := r.recorded; r.written < upTo; {
		progress := r.awaited()
		r.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			r.mu.Lock()
			return fmt.Errorf("sync journal: %w", ctx.Err())
		}
		r.mu.Lock()
	}
	return nil
}

// write moves what is pending to the journal and the state, until Finish.
func (r *Recorder) write() {
	defer close(r.done)
	var taken batch
	for {
		closed := r.take(&taken)
		if len(taken.events) == 0 {
			if closed {
				return
			}
			<-r.more
			// Whoever is about to record as well does so first: one write for all.
			runtime.Gosched()
			continue
		}
		for rest := taken; len(rest.events) > 0; {
			events, size := rest.piece()
			if !r.store(rest.lines[:size], len(rest.events)) {
				return
			}
			r.feed.update(func(s *State) {
				for i := range rest.events[:events] {
					s.apply(&rest.events[i])
				}
			})
			r.advance(events, size)
			rest.lines, rest.events = rest.lines[size:], rest.events[events:]
		}
		taken.empty()
	}
}

// take puts what is pending in place of the batch, which is empty, and tells whether
// nothing more will come.
func (r *Recorder) take(into *batch) (closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending, *into = *into, r.pending
	r.idle = len(into.events) == 0
	return r.closed
}

// store appends lines to the journal, however long that takes. False says that it
// could not be done before the run's end: they, of all the events that were taken,
// are lost.
func (r *Recorder) store(lines []byte, events int) bool {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		err := r.append(lines)
		if err == nil {
			return true
		}
		if r.failed(err, events) {
			return false
		}
		select {
		case <-time.After(retry):
		case <-r.more:
		}
	}
}

// failed takes note of a write that failed, and tells whether to give up, with the
// events that were taken and those that wait: at the end of the run nobody waits
// for a disk.
func (r *Recorder) failed(err error, taken int) (giveUp bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = err
	r.idle = true
	if r.closed {
		lost := taken + len(r.pending.events)
		r.lostEver += int64(lost)
		r.written += uint64(lost)
		r.pending, r.bytes = batch{}, 0
	}
	r.signal()
	return r.closed
}

// advance takes note of what was written and folded. After a time of failure it
// records what that cost.
func (r *Recorder) advance(events, size int) {
	r.mu.Lock()
	r.bytes -= size
	r.written += uint64(events)
	r.signal()
	failing, lost := r.failing, r.lost
	r.failing, r.lost = nil, 0
	r.mu.Unlock()
	if failing != nil {
		_ = r.record([]telemetry.Event{{
			Type: telemetry.Log, Level: "warn", Source: telemetry.SourceObsrun,
			Message: fmt.Sprintf("the journal could not be written for a time (%v); %d events were lost", failing, lost),
		}}, false)
	}
}

// signal wakes whoever waits for progress. The caller has the lock.
func (r *Recorder) signal() {
	if r.progress != nil {
		close(r.progress)
		r.progress = nil
	}
}

// reject writes what is no event, or not to be taken, to rejected.jsonl and tells of
// it, less and less often.
func (r *Recorder) reject(ev *telemetry.Event) (refused error) {
	reason := ev.Fault
	if reason == "" {
		reason = "the root span is ended by obsrun alone"
		refused = &RefusedError{reason}
	}
	count, err := r.refused.add(r.now(), ev.Source, ev.Raw, reason)
	if isPowerOfTen(count) {
		r.Note("warn", fmt.Sprintf("input that is no valid event, %d so far, the last from %s: %s (kept in rejected.jsonl)", count, ev.Source, reason))
	}
	if err != nil {
		r.Note("warn", err.Error())
	}
	return refused
}

func isPowerOfTen(n int64) bool {
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}

// Interrupted records that a signal reached the run: it will not count as ok.
func (r *Recorder) Interrupted(signal string) {
	_ = r.Record(telemetry.Event{
		Type: telemetry.SpanUpdate, SpanID: r.rootID, Source: telemetry.SourceObsrun,
		Attrs: telemetry.Attrs(map[string]any{"interrupted": signal}),
	})
}

// Finish records the end of the run, waits until it is journaled, and closes the
// door. The error says that the journal is not complete.
func (r *Recorder) Finish(status string, attrs map[string]any) error {
	attrs["rejected_events"] = r.refused.total()
	end := r.start.Add(r.Elapsed())
	// As the times say it in milliseconds, so that what lies within adds up to it.
	duration := millis(end.UnixMicro()) - millis(r.start.UnixMicro())
	err := r.Record(telemetry.Event{
		Type: telemetry.SpanEnd, SpanID: r.rootID, Status: status, Source: telemetry.SourceObsrun,
		DurationMS: telemetry.F(float64(duration)),
		Attrs:      telemetry.Attrs(attrs), TS: telemetry.F(seconds(end)),
	})
	r.mu.Lock()
	r.closed = true
	r.idle = true
	r.poke()
	r.mu.Unlock()
	<-r.done
	r.mu.Lock()
	failing, lost := r.failing, r.lostEver
	r.mu.Unlock()
	if failing != nil {
		err = fmt.Errorf("write journal: %w; %d events were lost, free space or choose another --log-dir", failing, lost)
	}
	r.feed.update(func(s *State) { s.Abandon() }) // no effect where the end was folded
	r.feed.close()
	return errors.Join(err, r.close(), r.refused.close())
}
