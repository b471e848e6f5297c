package serve

import (
	"context"
	"errors"
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
	defer p.close()
	defer v.audience.enter()()
	stream, err := beginStream(w)
	if err != nil || r.Method == http.MethodHead {
		return
	}
	defer v.tail.enter()()
	p.stream = stream
	reached, _ := progress(v.feed)
	err = p.skip(r.Context(), resumeAfter(r, reached))
	if err == nil {
		err = v.follow(r.Context(), p)
	}
	if errors.Is(err, errShort) {
		_ = stream.comment(errShort.Error())
		if _, last := progress(v.feed); last {
			_ = stream.end() // or a browser would come back for ever
		}
	}
	_ = stream.flush()
}

// follow sends lines until the run's last, or the client is gone.
func (v *view) follow(ctx context.Context, p *place) error {
	for {
		if ended, err := v.followFor(ctx, heartbeat, p); ended || err != nil {
			return err
		}
		if err := p.stream.comment("obsrun is here"); err != nil {
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
		if reached-sent <= few {
			p.floods = 0
		} else {
			p.floods++
		}
		if p.floods < inARow {
			if due.Err() != nil {
				return false, ctx.Err()
			}
			continue
		}
		select {
		case <-time.After(gather):
		case <-due.Done():
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
