package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/obsrun/obsrun/instrument/journal"
	"github.com/obsrun/obsrun/instrument/run"
)

// gather is how long lines are collected after many were sent at once, so that a
// flood of events does not wake every client for each of them. Up to few of them
// there is no flood, and who listens is told at once.
const (
	gather = 10 * time.Millisecond
	few    = 4
)

// serveEvents sends the journal's lines, from the file: what a client was shown
// is in it, and a client that is behind costs nothing but its place in it. The
// state only says how far the file may be read.
func (v *view) serveEvents(w http.ResponseWriter, r *http.Request) {
	file, err := openRegular(v.dir, journalFile.name)
	if err != nil {
		refuseFile(w, journalFile, err)
		return
	}
	defer file.Close()
	defer v.audience.enter()()
	stream, err := beginStream(w)
	if err != nil || r.Method == http.MethodHead {
		return
	}
	reached, _ := progress(v.feed)
	lines := &lines{reader: journal.NewReader(file), stream: stream}
	err = lines.skip(r.Context(), resumeAfter(r, reached))
	if err == nil {
		err = v.follow(r.Context(), lines)
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
func (v *view) follow(ctx context.Context, lines *lines) error {
	for {
		if ended, err := v.followFor(ctx, heartbeat, lines); ended || err != nil {
			return err
		}
		if err := lines.stream.comment("obsrun is here"); err != nil {
			return err
		}
		if err := lines.stream.flush(); err != nil {
			return err
		}
	}
}

// followFor is follow for some time, and tells whether the last line was sent.
func (v *view) followFor(ctx context.Context, period time.Duration, lines *lines) (ended bool, err error) {
	due, cancel := context.WithTimeout(ctx, period)
	defer cancel()
	for {
		sent := lines.reader.Line()
		reached, last, err := v.feed.Wait(due, sent)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil:
			return false, nil // the time is up
		}
		if err := lines.send(ctx, reached); err != nil {
			return false, err
		}
		if last {
			return true, lines.stream.end()
		}
		if err := lines.stream.flush(); err != nil {
			return false, err
		}
		if reached-sent <= few {
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

// lines is a client's place in the journal.
type lines struct {
	reader *journal.Reader
	stream *stream
}

// errShort says that the file has fewer lines than the state counts: somebody
// cut it.
var errShort = errors.New("the journal is shorter than it was")

func (l *lines) skip(ctx context.Context, after int64) error {
	for l.reader.Line() < after {
		if _, err := l.next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// send sends the lines up to number reached.
func (l *lines) send(ctx context.Context, reached int64) error {
	for l.reader.Line() < reached {
		line, err := l.next(ctx)
		if err != nil {
			return err
		}
		if line == nil {
			continue
		}
		if err := l.stream.message(l.reader.Line(), line); err != nil {
			return err
		}
	}
	return nil
}

// next gives the next line, nil for one that is too long to be one of ours.
func (l *lines) next(ctx context.Context) ([]byte, error) {
	if l.reader.Line()%1024 == 0 && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	line, err := l.reader.Next()
	switch {
	case errors.Is(err, journal.ErrTooLong):
		return nil, nil
	case err == io.EOF:
		return nil, errShort
	case err != nil:
		return nil, fmt.Errorf("send events: %w", err)
	}
	return line, nil
}

// progress tells, without waiting, which line the state reaches and whether that
// is the last.
func progress(feed *run.Feed) (reached int64, last bool) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	reached, last, _ = feed.Wait(now, math.MaxInt64)
	return reached, last
}
