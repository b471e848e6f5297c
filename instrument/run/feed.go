package run

import (
	"context"
	"sync"
)

// Feed is a State that grows, and its readers. A reader is a cursor into it,
// never a queue: it costs nothing while it does not ask.
type Feed struct {
	mu      sync.Mutex
	state   *State
	changed chan struct{} // closed when the state grew; nil while nobody waits
	closed  bool
}

// NewFeed gives a feed of an empty state.
func NewFeed() *Feed {
	return &Feed{state: NewState()}
}

// View calls f with the state. f must not keep it, nor block.
func (f *Feed) View(view func(*State)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	view(f.state)
}

// update changes the state and wakes whoever waits.
func (f *Feed) update(change func(*State)) {
	defer f.wake()
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.state)
}

// wake wakes whoever waits, without the lock: they want it at once.
func (f *Feed) wake() {
	f.mu.Lock()
	changed := f.changed
	f.changed = nil
	f.mu.Unlock()
	if changed != nil {
		close(changed)
	}
}

// close ends the feed: no line will follow.
func (f *Feed) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.wake()
}

// Wait blocks until the state is beyond line rev or no line will follow, and
// says which line it reaches and whether that was the last.
func (f *Feed) Wait(ctx context.Context, rev int64) (reached int64, last bool, err error) {
	for {
		f.mu.Lock()
		reached, last = f.state.Rev(), f.closed
		if reached > rev || last {
			f.mu.Unlock()
			return reached, last, nil
		}
		if f.changed == nil {
			f.changed = make(chan struct{})
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return reached, last, ctx.Err()
		}
	}
}
