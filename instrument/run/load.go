package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/obsrun/obsrun/instrument/journal"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Loaded is a run read from its journal.
type Loaded struct {
	Dir   string
	State *State
	// Live tells that its obsrun still runs. A run that is neither live nor ended
	// was closed in the state: its obsrun was killed.
	Live bool
	// Torn is how many bytes of a torn last line were dropped; Unreadable how
	// many lines are no events. Both are faults to tell of.
	Torn       int
	Unreadable int64
}

// Load reads the run in this directory.
func Load(dir string) (*Loaded, error) {
	f, err := openJournal(dir)
	if err != nil {
		return nil, err
	}
	defer f.file.Close()
	live := IsLive(dir) // before reading: what ends meanwhile is read to its end
	if err := f.readAhead(); err != nil {
		return nil, err
	}
	if !live {
		f.state.Abandon()
	}
	return &Loaded{Dir: dir, State: f.state, Live: live, Torn: f.reader.Torn(), Unreadable: f.unreadable}, nil
}

// journalFile is a journal that is read.
type journalFile struct {
	file       *os.File
	reader     *journal.Reader
	state      *State
	unreadable int64
}

func openJournal(dir string) (*journalFile, error) {
	file, err := Open(JournalPath(dir))
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &journalFile{file: file, reader: journal.NewReader(file), state: NewState()}, nil
}

// read gives every whole line that there is now, a line that is no event as an
// event of no type: the revision is the line's number.
func (f *journalFile) read(apply func(telemetry.Event)) error {
	for {
		line, err := f.reader.Next()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, journal.ErrTooLong):
			f.unreadable++
			apply(telemetry.Event{})
			continue
		case err != nil:
			return fmt.Errorf("read journal: %w", err)
		}
		e, err := telemetry.Decode(append([]byte(nil), line...))
		if err != nil {
			f.unreadable++
			e = telemetry.Event{}
		}
		e.Raw = nil // the fold does not need it; the file keeps it
		apply(e)
	}
}

// deadCheck is how often a followed run is asked whether its obsrun still lives.
const deadCheck = time.Second

// Follow gives the feed of a run that may still grow, written by another process.
// It is closed when the run has ended or its obsrun is gone. The returned
// function stops following.
func Follow(ctx context.Context, dir string) (*Feed, func(), error) {
	f, err := openJournal(dir)
	if err != nil {
		return nil, nil, err
	}
	feed := NewFeed()
	f.state = feed.state
	live := IsLive(dir)
	if err := f.readAhead(); err != nil {
		f.file.Close()
		return nil, nil, err
	}
	if !live || feed.state.Ended() {
		feed.state.Abandon()
		feed.close()
		return feed, func() {}, f.file.Close()
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer f.file.Close()
		defer feed.close()
		f.follow(ctx, dir, feed)
	}()
	return feed, func() { cancel(); <-done }, nil
}

func (f *journalFile) follow(ctx context.Context, dir string, feed *Feed) {
	grown := journal.Watch(ctx, JournalPath(dir))
	alive := time.NewTicker(deadCheck)
	defer alive.Stop()
	for {
		live := true
		select {
		case <-ctx.Done():
			return
		case <-grown:
		case <-alive.C:
			live = IsLive(dir)
		}
		var events []telemetry.Event
		err := f.read(func(e telemetry.Event) { events = append(events, e) })
		if len(events) > 0 {
			feed.update(func(s *State) {
				for i := range events {
					s.Apply(events[i])
				}
			})
		}
		if !live || err != nil {
			feed.update(func(s *State) { s.Abandon() })
		}
		ended := false
		feed.View(func(s *State) { ended = s.Ended() })
		if ended {
			return
		}
	}
}
