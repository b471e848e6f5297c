package serve

import (
	"context"
	"sync"
	"time"
)

// The times that the end of a run gives a page: to open its stream, and to ask
// for a file once it was sent the last state, or another file.
const (
	pageGrace = time.Second
	askGrace  = 200 * time.Millisecond
)

// audience knows who would miss something if the server were shut down now.
type audience struct {
	mu sync.Mutex
	// busy counts streams of the state that were not sent the last one, and files
	// that are being sent.
	busy int
	// quietFrom is when a page that was served last may be given up, or one that
	// has what it asked for.
	quietFrom time.Time
}

// awaitStream notes that a page was sent, which is about to open its stream.
func (a *audience) awaitStream() { a.linger(pageGrace) }

// enter notes somebody who must not be cut off; leave must be called once.
func (a *audience) enter() (leave func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy++
	a.quietFrom = time.Time{}
	return sync.OnceFunc(func() {
		a.mu.Lock()
		a.busy--
		a.mu.Unlock()
	})
}

// ask is enter for who asks for a file: a page that was sent one may want another,
// as it does who looked which there are.
func (a *audience) ask() (done func()) {
	leave := a.enter()
	return func() {
		a.linger(askGrace)
		leave()
	}
}

func (a *audience) linger(grace time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if until := time.Now().Add(grace); until.After(a.quietFrom) {
		a.quietFrom = until
	}
}

// settled waits until nobody would miss anything.
func (a *audience) settled(ctx context.Context) {
	poll(ctx, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.busy == 0 && !time.Now().Before(a.quietFrom)
	})
}
