package run

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/obsrun/obsrun/instrument/journal"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

const (
	passageSize = 256 << 10 // bytes of lines
	passages    = 4         // that are on their way
)

// passage is lines of a journal in a row, decoded.
type passage struct {
	lines  []byte
	events []telemetry.Event // they lie in lines
	err    error             // why it is the last one
}

// readAhead folds every whole line that there is now. Lines are read and decoded on
// one core while those before are folded on another, with memory that is used
// again.
func (f *journalFile) readAhead() error {
	free, full := make(chan *passage, passages), make(chan *passage, passages)
	for range passages {
		free <- new(passage)
	}
	go func() {
		for p := range free {
			f.fill(p)
			last := p.err != nil
			full <- p
			if last {
				return
			}
		}
	}()
	for p := range full {
		for i := range p.events {
			f.state.apply(&p.events[i])
		}
		if p.err == io.EOF {
			return nil
		}
		if p.err != nil {
			return p.err
		}
		free <- p
	}
	return nil
}

// fill reads the next lines into p, a line that is no event as an event of no type:
// the revision is the line's number.
func (f *journalFile) fill(p *passage) {
	p.lines, p.events, p.err = p.lines[:0], p.events[:0], nil
	for len(p.lines) < passageSize {
		line, err := f.reader.Next()
		if errors.Is(err, journal.ErrTooLong) {
			f.unreadable++
			p.events = append(p.events, telemetry.Event{})
			continue
		}
		if err != nil {
			p.err = err
			if err != io.EOF {
				p.err = fmt.Errorf("read journal: %w", err)
			}
			return
		}
		begin := len(p.lines)
		p.lines = append(p.lines, line...)
		n := len(p.events)
		if n == cap(p.events) {
			p.events = slices.Grow(p.events, max(n, 64))
		}
		p.events = p.events[:n+1] // with an old event, which Decode clears
		if p.events[n].Decode(p.lines[begin:]) != nil {
			f.unreadable++
		}
	}
}
