package serve

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"

	"github.com/obsrun/obsrun/instrument/journal"
)

// place is how far a client of /events is in the journal: in the tail that all share,
// or, where that does not reach back so far, in the file. Who has caught up holds
// neither a file nor a buffer.
type place struct {
	view   *view
	stream *stream
	at     mark
	floods int // times in a row that many lines were sent

	file   *os.File // nil while it is in the tail
	reader *journal.Reader
	base   mark // where reader began
	buf    []byte

	// Of a client on a wire:
	after int64    // the line behind which it goes on
	rest  []byte   // of a message that was begun
	over  []func() // called when it is told nothing more
	// The circle's: whether the place is in it, where, and that the client has left.
	joined, left bool
	index        int
}

// pageSize is how much of the file is sent at a time, about.
const pageSize = 32 << 10

func newPlace(v *view, file *os.File, at mark) *place {
	return &place{view: v, at: at, file: file, reader: journal.NewReader(file), base: at}
}

// attempt is send for a client in the tail whose wire takes all of it at once. False
// says that it does not, and that there is a rest.
func (p *place) attempt(reached int64) bool {
	for p.at.line < reached {
		text, behind, ok, err := p.view.tail.after(p.at, reached)
		if !ok || err != nil {
			return false
		}
		p.at = behind
		if !p.offer(text) {
			return false
		}
	}
	return true
}

// offer sends what the wire takes at once.
func (p *place) offer(text []byte) bool {
	attempt := p.stream.wire.attempt
	if attempt == nil { // all that it is told is told by a goroutine of its own
		p.rest = text
		return false
	}
	n, err := attempt(text)
	if err != nil || n < len(text) {
		p.rest = text[n:]
		return false
	}
	return true
}

// conclude says in the stream what is wrong with the journal, if that ended it.
func (p *place) conclude(err error) {
	if errors.Is(err, errShort) {
		_ = p.stream.comment(errShort.Error())
		if _, last := progress(p.view.feed); last {
			_ = p.stream.end() // or a browser would come back for ever
		}
	}
}

// end is for who sent to the client last.
func (p *place) end() {
	p.close()
	for _, f := range p.over {
		f()
	}
	if p.stream.wire != nil {
		p.stream.wire.close()
	}
}

func (p *place) close() {
	if p.file != nil {
		p.file.Close()
	}
}

// skip goes to behind line after without sending anything.
func (p *place) skip(ctx context.Context, after int64) error {
	if at, ok := p.view.tail.find(after); ok {
		p.close()
		p.file, p.reader, p.at = nil, nil, at
		return nil
	}
	for p.at.line < after {
		if _, err := p.next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// send sends the lines up to number reached.
func (p *place) send(ctx context.Context, reached int64) error {
	for p.at.line < reached {
		if p.reader != nil {
			if !p.view.tail.join(p, reached) {
				if err := p.sendPage(ctx, reached); err != nil {
					return err
				}
			}
			continue
		}
		text, behind, ok, err := p.view.tail.after(p.at, reached)
		switch {
		case err != nil:
			return err
		case !ok:
			if err := p.reopen(); err != nil {
				return err
			}
			continue
		}
		if err := p.stream.put(text); err != nil {
			return err
		}
		if p.at = behind; p.at.line < reached {
			runtime.Gosched() // or the others fall behind the tail meanwhile
		}
	}
	if p.reader != nil {
		p.view.tail.join(p, reached)
	}
	return nil
}

// sendPage sends lines of the file.
func (p *place) sendPage(ctx context.Context, reached int64) error {
	p.buf = p.buf[:0]
	for p.at.line < reached && len(p.buf) < pageSize {
		line, err := p.next(ctx)
		if err != nil {
			_ = p.stream.put(p.buf)
			return err
		}
		if line != nil {
			p.buf = appendMessage(p.buf, p.at.line, line)
		}
	}
	return p.stream.put(p.buf)
}

// next gives the next line of the file, nil for one that is too long.
func (p *place) next(ctx context.Context) ([]byte, error) {
	if p.at.line%1024 == 0 && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	line, err := nextLine(p.reader)
	p.at = mark{p.base.line + p.reader.Line(), p.base.offset + p.reader.Offset()}
	return line, err
}

// reopen goes on in the file, for a client that fell behind the tail.
func (p *place) reopen() error {
	file, err := openRegular(p.view.dir, journalFile.name)
	if err != nil {
		return errShort // somebody removed it
	}
	if _, err := file.Seek(p.at.offset, io.SeekStart); err != nil {
		file.Close()
		return err
	}
	p.file, p.reader, p.base = file, journal.NewReader(file), p.at
	return nil
}
