package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
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
	// maxPending bounds the lines that wait to be written. Whoever records waits
	// while the disk is slow; while it fails, what comes beyond is lost.
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
	pending  []telemetry.Event
	bytes    int
	recorded uint64        // events taken in
	written  uint64        // of those, the ones journaled and folded, or given up
	progress chan struct{} // closed and replaced when written grew
	more     chan struct{} // there is something to write
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
		refused:  &rejectLog{path: RejectedPath(dir)},
		progress: make(chan struct{}), more: make(chan struct{}, 1), done: make(chan struct{}),
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

// Record takes in an event from a receiver. It keeps ev.Raw. What is no valid
// event goes to rejected.jsonl and is no error. It waits while the disk is slow.
func (r *Recorder) Record(ev telemetry.Event) error {
	if ev.Fault == "" && ev.Source != telemetry.SourceObsrun && ev.Type == telemetry.SpanEnd && ev.SpanID == r.rootID {
		reason := "the root span is ended by obsrun alone"
		r.reject(ev.Source, ev.Raw, reason)
		return &RefusedError{reason}
	}
	if ev.Fault != "" {
		r.reject(ev.Source, ev.Raw, ev.Fault)
		return nil
	}
	r.mu.Lock()
	for r.bytes >= maxPending && r.failing == nil && !r.closed {
		progress := r.progress
		r.mu.Unlock()
		<-progress
		r.mu.Lock()
	}
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return ErrClosed
	case r.bytes >= maxPending:
		r.lost++
		r.lostEver++
		return ErrFull
	}
	now := r.now()
	ev.Stamp(ev.Source, now.Sub(r.start).Milliseconds(), seconds(r.start.Add(now.Sub(r.start))))
	r.pending = append(r.pending, ev)
	r.bytes += len(ev.Raw) + 1
	r.recorded++
	r.poke()
	return nil
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func (r *Recorder) poke() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// Sync waits until everything recorded before is in the journal.
func (r *Recorder) Sync(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for upTo := r.recorded; r.written < upTo; {
		progress := r.progress
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
	retry := firstRetry
	for {
		batch, closed := r.take()
		if len(batch) == 0 {
			if closed {
				return
			}
			<-r.more
			continue
		}
		lines := make([]byte, 0, maxBatch)
		for i := range batch {
			lines = append(append(lines, batch[i].Raw...), '\n')
		}
		if err := r.append(lines); err != nil {
			if r.failed(err, closed) {
				return
			}
			select {
			case <-time.After(retry):
			case <-r.more:
			}
			retry = min(2*retry, lastRetry)
			continue
		}
		retry = firstRetry
		r.feed.update(func(s *State) {
			for i := range batch {
				s.Apply(batch[i])
			}
		})
		r.advance(len(batch), len(lines))
	}
}

// take gives the next lines to write, without removing them: they stay first in
// line until they are written.
func (r *Recorder) take() (batch []telemetry.Event, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := 0
	for i := range r.pending {
		size += len(r.pending[i].Raw) + 1
		if i > 0 && size > maxBatch {
			return r.pending[:i], r.closed
		}
	}
	return r.pending, r.closed
}

// failed takes note of a write that failed, and tells whether to give up: at the
// end of the run nobody waits for a disk.
func (r *Recorder) failed(err error, closed bool) (giveUp bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = err
	if closed {
		r.lostEver += int64(len(r.pending))
		r.written += uint64(len(r.pending))
		r.pending, r.bytes = nil, 0
	}
	r.signal()
	return closed
}

// advance takes what was written off the pending lines. After a time of failure
// it records what that cost.
func (r *Recorder) advance(events, size int) {
	r.mu.Lock()
	r.pending = append(r.pending[:0:0], r.pending[events:]...)
	r.bytes -= size
	r.written += uint64(events)
	r.signal()
	failing, lost := r.failing, r.lost
	r.failing, r.lost = nil, 0
	r.mu.Unlock()
	if failing != nil {
		r.Note("warn", fmt.Sprintf("the journal could not be written for a time (%v); %d events were lost", failing, lost))
	}
}

func (r *Recorder) signal() {
	close(r.progress)
	r.progress = make(chan struct{})
}

// reject writes what is no event to rejected.jsonl and tells of it, less and
// less often.
func (r *Recorder) reject(source string, raw []byte, reason string) {
	count, err := r.refused.add(r.now(), source, raw, reason)
	if isPowerOfTen(count) {
		r.Note("warn", fmt.Sprintf("input that is no valid event, %d so far, the last from %s: %s (kept in rejected.jsonl)", count, source, reason))
	}
	if err != nil {
		r.Note("warn", err.Error())
	}
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
