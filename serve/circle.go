package serve

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// circle is the clients of /events that have caught up, and are told of a line
// together: one goroutine writes to each what its connection takes at once. One whose
// connection takes less leaves the circle, and is written to by a goroutine of its own
// until it has caught up. So a client that listens is no more than a place, and a
// line for all costs a write for each, and no change of goroutines.
type circle struct {
	view *view

	mu      sync.Mutex
	places  []*place
	reached int64 // the line up to which they were told
	stop    context.CancelFunc
}

var errLeft = errors.New("the client has left")

// join takes in a client, whose place is the circle's from then on. False says that
// there are more lines already.
func (c *circle) join(p *place) (joined bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case p.left:
		return false, errLeft
	case p.reader != nil, len(c.places) > 0 && p.at.line < c.reached:
		return false, nil
	}
	if len(c.places) == 0 {
		ctx, stop := context.WithCancel(context.Background())
		c.stop, c.reached = stop, p.at.line
		go c.turn(ctx)
	}
	p.index = len(c.places)
	p.joined = true
	c.places = append(c.places, p)
	return true, nil
}

// leave says that a client has left, and tells whether its place was the circle's.
func (c *circle) leave(p *place) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.left = true
	if !p.joined {
		return false // who sends to it will see
	}
	c.remove(p)
	return true
}

// remove takes a place out. The caller has the lock, and the place from then on.
func (c *circle) remove(p *place) {
	last := c.places[len(c.places)-1]
	c.places[p.index], last.index = last, p.index
	c.places[len(c.places)-1] = nil
	c.places = c.places[:len(c.places)-1]
	p.joined = false
	if len(c.places) == 0 {
		c.stop()
		c.places = nil
	}
}

// turn tells the circle what comes, while there is one.
func (c *circle) turn(ctx context.Context) {
	defer c.mend()
	for floods := 0; ctx.Err() == nil; {
		period, cancel := context.WithTimeout(ctx, heartbeat)
		for period.Err() == nil {
			more, last, err := c.await(period)
			if err != nil || last {
				break
			}
			if floods = flooded(floods, more); floods >= inARow {
				pause(period, gather)
			}
		}
		cancel()
		c.comment(ctx)
	}
}

// await waits for lines and tells them. It says how many those were.
func (c *circle) await(ctx context.Context) (lines int64, last bool, err error) {
	c.mu.Lock()
	sent := c.reached
	c.mu.Unlock()
	reached, last, err := c.view.feed.Wait(ctx, sent)
	if err != nil {
		return 0, false, err
	}
	c.tell(ctx, reached, last)
	return reached - sent, last, nil
}

// tell sends the lines up to reached. Whoever can not be told all at once, and after
// the last line everybody, is left to a goroutine of its own.
func (c *circle) tell(ctx context.Context, reached int64, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil { // the next turn has the say by now
		return
	}
	c.reached = reached
	for i := len(c.places) - 1; i >= 0; i-- { // the last takes the place of one that is removed
		if p := c.places[i]; !p.attempt(reached) || last {
			c.remove(p)
			go c.view.catchUp(p)
		}
	}
}

// comment sends everybody the sign of life.
func (c *circle) comment(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	for i := len(c.places) - 1; i >= 0; i-- {
		if p := c.places[i]; !p.offer(signOfLife) {
			c.remove(p)
			go c.view.catchUp(p)
		}
	}
}

// mend ends the streams of all when a turn panicked: they come back.
func (c *circle) mend() {
	cause := recover()
	if cause == nil {
		return
	}
	c.view.fault(fmt.Errorf("send events: panic: %v\n%s", cause, debug.Stack()))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.places {
		p.joined = false
		go p.end()
	}
	c.places = nil
	c.stop()
}

// flooded counts how many times in a row many lines came.
func flooded(before int, lines int64) int {
	if lines <= few {
		return 0
	}
	return before + 1
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
