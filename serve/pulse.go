package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
)

const (
	// tickEvery bounds how often a client is sent a delta.
	tickEvery = 50 * time.Millisecond
	// clockEvery is how often one is sent though nothing happened, while the run
	// lives: it has the clock and what depends on it.
	clockEvery = time.Second
)

// pulse gives the clients of one run the deltas of its state. It beats for all at
// once, so that clients that keep up stand at the same line and get the same
// bytes: a delta is taken and encoded once, however many they are. It has no
// queue: a client names the line it has, and gets all that came since. Nothing
// runs while nobody is connected.
type pulse struct {
	feed *run.Feed

	mu      sync.Mutex
	clients int
	stop    context.CancelFunc
	waiting map[int64]*frame // by the line that the clients have
	due     time.Time        // when everybody is told, though nothing happened
	resting int64            // the line at which the beat waits for news; rouse ends that
	rouse   func()

	// whole is the last whole state that was encoded, to be shared by clients that
	// connect at about the same time; readers are those who may want it.
	wholeMu sync.Mutex
	whole   *whole
	readers int
}

// frame is a delta for all who have the line it starts after.
type frame struct {
	ready chan struct{} // closed when delta is there
	delta run.Delta
	end   bool // nothing will follow

	encode sync.Once
	rev    int64
	text   []byte // as a message of a stream
	json   []byte // within it
	err    error
}

type whole struct {
	frame *frame
	at    time.Time
	took  time.Duration // to take and encode it
}

// life is how long it is good enough for a client that gets deltas afterwards:
// encoding it for clients that keep connecting takes a twentieth of the time.
func (w *whole) life() time.Duration { return max(tickEvery, 20*w.took) }

func newPulse(feed *run.Feed) *pulse {
	return &pulse{feed: feed, waiting: make(map[int64]*frame)}
}

// nextClock is when the clock is to be told after now: with the second, as much else
// is done then, so that a quiet run is woken once for all.
func nextClock(now time.Time) time.Time {
	return now.Add(clockEvery - time.Duration(now.UnixNano())%clockEvery)
}

// bytes encodes the delta, once, on the time of one of those who want it.
func (f *frame) bytes() ([]byte, error) {
	f.encode.Do(func() {
		f.rev = f.delta.Rev
		var text bytes.Buffer
		text.WriteString("id: " + strconv.FormatInt(f.rev, 10) + "\ndata: ")
		begin := text.Len()
		if err := json.NewEncoder(&text).Encode(&f.delta); err != nil {
			f.err = fmt.Errorf("encode the state at line %d: %w", f.rev, err)
		} else {
			text.WriteByte('\n') // the other one stands there
			f.text = text.Bytes()
			f.json = f.text[begin : len(f.text)-2]
		}
		f.delta = run.Delta{}
	})
	return f.json, f.err
}

// join counts a client of next; leave must be called once.
func (p *pulse) join() (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients++; p.clients == 1 {
		ctx, stop := context.WithCancel(context.Background())
		p.stop, p.due = stop, nextClock(time.Now())
		go p.beat(ctx)
	}
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.clients--; p.clients == 0 {
			p.stop()
			clear(p.waiting)
		}
	})
}

func (p *pulse) beat(ctx context.Context) {
	timer := time.NewTimer(tickEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		p.tick(now)
		p.rest(ctx)
		timer.Reset(time.Until(now.Add(tickEvery)))
	}
}

// rest waits until there is news, somebody wants news that is older, or the clock is to
// be told: a quiet run costs next to nothing.
func (p *pulse) rest(ctx context.Context) {
	reached, _ := progress(p.feed)
	p.mu.Lock()
	if ctx.Err() != nil { // the next beat has the say by now
		p.mu.Unlock()
		return
	}
	ctx, rouse := context.WithDeadline(ctx, p.due)
	defer rouse()
	p.resting, p.rouse = reached, rouse
	for from := range p.waiting {
		if from < reached {
			rouse()
		}
	}
	p.mu.Unlock()
	_, _, _ = p.feed.Wait(ctx, reached)
}

// tick gives a frame to everybody for whom there is something new. All frames of
// one tick reach the same line.
func (p *pulse) tick(now time.Time) {
	p.forget(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		return
	}
	reached, last := progress(p.feed)
	everybody := last || !now.Before(p.due)
	due := make(map[int64]*frame, len(p.waiting))
	for from, frame := range p.waiting {
		if everybody || from < reached {
			due[from] = frame
			delete(p.waiting, from)
		}
	}
	if len(due) == 0 {
		return
	}
	p.due = nextClock(now)
	p.feed.View(func(state *run.State) {
		for from, frame := range due {
			frame.delta, frame.end = delta(state, from, now, last), last
		}
	})
	for _, frame := range due {
		close(frame.ready)
	}
}

// next waits for the next beat that has something for a client at line from.
func (p *pulse) next(ctx context.Context, from int64) (*frame, error) {
	p.mu.Lock()
	f := p.waiting[from]
	if f == nil {
		f = &frame{ready: make(chan struct{})}
		p.waiting[from] = f
	}
	if from < p.resting {
		p.rouse()
	}
	p.mu.Unlock()
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	_, err := f.bytes()
	return f, err
}

// since gives at once what a client that comes back with line from has missed.
func (p *pulse) since(from int64) (*frame, error) {
	_, last := progress(p.feed)
	f := &frame{end: last}
	p.feed.View(func(state *run.State) { f.delta = delta(state, from, time.Now(), last) })
	_, err := f.bytes()
	return f, err
}

// read counts somebody who may share the whole state; done must be called once.
func (p *pulse) read() (done func()) {
	p.wholeMu.Lock()
	defer p.wholeMu.Unlock()
	p.readers++
	return sync.OnceFunc(func() {
		p.wholeMu.Lock()
		defer p.wholeMu.Unlock()
		if p.readers--; p.readers == 0 {
			p.whole = nil
		}
	})
}

// state gives the whole state, one encoding at a time. Exact is the state as it
// was when it was asked for, or later. Otherwise it may be a little old, the more
// so the longer a new one takes: a client that gets deltas afterwards has lost
// nothing by it.
func (p *pulse) state(exact bool) (*frame, error) {
	reached, _ := progress(p.feed)
	p.wholeMu.Lock()
	defer p.wholeMu.Unlock()
	now := time.Now()
	_, last := progress(p.feed)
	if w := p.whole; w != nil && w.frame.end == last {
		age := now.Sub(w.at)
		current := w.frame.rev >= reached && age < clockEvery
		if last || current || !exact && age < w.life() {
			return w.frame, nil
		}
	}
	f, err := p.since(0)
	if err != nil {
		return nil, err
	}
	p.whole = &whole{frame: f, at: now, took: time.Since(now)}
	return f, nil
}

// forget lets go of a whole state that nobody would be given any more.
func (p *pulse) forget(now time.Time) {
	if !p.wholeMu.TryLock() {
		return // it is being renewed
	}
	defer p.wholeMu.Unlock()
	if w := p.whole; w != nil && !w.frame.end && now.Sub(w.at) >= w.life() {
		p.whole = nil
	}
}

// delta is what changed after line from. Its clock is 0 once the run is over.
//
// The end of a run can change the state without a line: that of a run whose
// obsrun was killed. What so changed counts as changed by the last line, so the
// last delta begins before it, and the log entries that a client has are cut out.
func delta(state *run.State, from int64, now time.Time, over bool) run.Delta {
	if !over {
		return state.Since(from, now.UnixMilli())
	}
	before := max(0, min(from, state.Rev()-1))
	d := state.Since(before, 0)
	if before > 0 {
		d.From = from
		d.Logs = slices.DeleteFunc(d.Logs, func(e run.Entry) bool { return e.Rev <= from })
	}
	return d
}
