package serve

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
)

// gather is how long lines are collected in a flood, so that it does not wake every
// client for each of them. It is one when more than few lines stood ready several
// times in a row: who only was held up for a moment is told at once what comes next.
const (
	gather = 10 * time.Millisecond
	few    = 4
	inARow = 4
)

// serveEvents sends the journal's lines, as they stand in the file: what a client was
// shown is in it, and a client that is behind costs nothing but its place in it. The
// state only says how far the file may be read.
func (v *view) serveEvents(w http.ResponseWriter, r *http.Request) {
	file, err := openRegular(v.dir, journalFile.name)
	if err != nil {
		refuseFile(w, journalFile, err)
		return
	}
	p := newPlace(v, file, mark{})
	leave := v.audience.enter()
	stream, err := beginStream(w, r)
	if err != nil || r.Method == http.MethodHead {
		p.close()
		leave()
		return
	}
	reached, _ := progress(v.feed)
	p.stream, p.over, p.after = stream, []func(){leave, v.tail.enter()}, resumeAfter(r, reached)
	if stream.wire != nil {
		go v.attend(p)
		go v.catchUp(p)
		return
	}
	defer p.end()
	err = p.skip(r.Context(), p.after)
	if err == nil {
		err = v.follow(r.Context(), p)
	}
	p.conclude(err)
	_ = stream.flush()
}

// attend waits until the client of a wire has left.
func (v *view) attend(p *place) {
	p.stream.wire.leaving()
	if v.circle.leave(p) {
		p.end()
	}
}

// catchUp sends the client of a wire what there is, until it can join the circle, or
// there is nothing more to come.
func (v *view) catchUp(p *place) {
	defer p.stream.wire.all.sane()
	joined := false
	defer func() {
		if !joined {
			p.end()
		}
	}()
	var err error
	if joined, err = v.catchUpTo(p); !joined {
		p.conclude(err)
	}
}

func (v *view) catchUpTo(p *place) (joined bool, err error) {
	ctx := p.stream.wire.all.ctx
	if p.at.line < p.after {
		if err := p.skip(ctx, p.after); err != nil {
			return false, err
		}
	}
	if len(p.rest) > 0 {
		if err := p.stream.put(p.rest); err != nil {
			return false, err
		}
		p.rest = nil
	}
	for {
		reached, last := progress(v.feed)
		if err := p.send(ctx, reached); err != nil {
			return false, err
		}
		if last {
			return false, p.stream.end()
		}
		if joined, err := v.circle.join(p); joined || err != nil {
			return joined, err
		}
	}
}

// follow sends lines until the run's last, or the client is gone.
func (v *view) follow(ctx context.Context, p *place) error {
	for {
		if ended, err := v.followFor(ctx, heartbeat, p); ended || err != nil {
			return err
		}
		if err := p.stream.put(signOfLife); err != nil {
			return err
		}
		if err := p.stream.flush(); err != nil {
			return err
		}
	}
}

// followFor is follow for some time, and tells whether the last line was sent.
func (v *view) followFor(ctx context.Context, period time.Duration, p *place) (ended bool, err error) {
	due, cancel := context.WithTimeout(ctx, period)
	defer cancel()
	for {
		sent := p.at.line
		reached, last, err := v.feed.Wait(due, sent)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil:
			return false, nil // the time is up
		}
		if err := p.send(ctx, reached); err != nil {
			return false, err
		}
		if last {
			return true, p.stream.end()
		}
		if err := p.stream.flush(); err != nil {
			return false, err
		}
		if p.floods = flooded(p.floods, reached-sent); p.floods < inARow {
			if due.Err() != nil {
				return false, ctx.Err()
			}
			continue
		}
		if pause(due, gather); due.Err() != nil {
			return false, ctx.Err()
		}
	}
}

// progress tells, without waiting, which line the state reaches and whether that
// is the last.
func progress(feed *run.Feed) (reached int64, last bool) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	reached, last, _ = feed.Wait(now, math.MaxInt64)
	return reached, last
}
