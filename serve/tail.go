package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"

	"github.com/obsrun/obsrun/instrument/journal"
)

// The memory of a tail: blocks of this size, together no more than tailSize. A line
// that is longer than a block has one of its own.
const (
	blockSize = 64 << 10
	tailSize  = 2 << 20
)

// tail is the last lines of a journal as /events sends them, read from the file once
// for all clients that keep up. It is no queue: a client names the line that it has,
// and who is further behind than the tail reaches reads the file. Nothing is kept
// while nobody listens.
type tail struct {
	mu        sync.Mutex
	listeners int
	file      *os.File // nil before a client has caught up
	reader    *journal.Reader
	base      mark // where reader began
	blocks    []*block
	size      int  // of the blocks
	from      mark // what stands before the first block
}

// mark is a place in a journal: behind line number line, where the next one begins.
type mark struct{ line, offset int64 }

// block is messages of lines in a row. Its memory is only added to, so that a client
// can be sent a piece of it without a lock.
type block struct {
	text []byte
	ends []lineEnd // by line
}

// lineEnd is where a line's message ends in a block, and the line in the file.
type lineEnd struct {
	text   int
	offset int64
}

// errShort says that the file has fewer lines than the state counts: somebody
// cut it.
var errShort = errors.New("the journal is shorter than it was")

// enter counts a client; leave must be called once.
func (t *tail) enter() (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listeners++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.listeners--; t.listeners == 0 {
			t.drop()
		}
	}
}

func (t *tail) drop() {
	if t.file != nil {
		t.file.Close()
	}
	t.file, t.reader, t.blocks, t.size = nil, nil, nil, 0
}

// find gives the place behind a line, where the tail has it.
func (t *tail) find(line int64) (mark, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reader == nil || line < t.from.line || line > t.last().line {
		return mark{}, false
	}
	at := t.from
	for _, b := range t.blocks {
		if n := line - at.line; n <= int64(len(b.ends)) {
			if n > 0 {
				at.offset = b.ends[n-1].offset
			}
			return mark{line, at.offset}, true
		}
		at.line += int64(len(b.ends))
		at.offset = b.ends[len(b.ends)-1].offset
	}
	return at, true
}

// join tells whether a client that reads the file can go on with the tail. The first
// that has come to the last line there is, reached, gives what it reads with to it.
func (t *tail) join(p *place, reached int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.reader != nil:
		if p.at.line < t.from.line {
			return false
		}
		p.file.Close()
	case p.at.line < reached:
		return false
	default:
		t.file, t.reader, t.base, t.from = p.file, p.reader, p.base, p.at
	}
	p.file, p.reader, p.buf = nil, nil, nil
	return true
}

// after gives messages of lines behind at, not beyond line upTo, and the place behind
// them. False says that the tail does not reach so far back.
func (t *tail) after(at mark, upTo int64) (text []byte, behind mark, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reader == nil || at.line < t.from.line {
		return nil, at, false, nil
	}
	for t.last().line <= at.line {
		if err := t.fill(upTo); err != nil {
			t.drop()
			return nil, at, true, err
		}
		if at.line < t.from.line {
			return nil, at, false, nil
		}
	}
	line := t.from.line
	for _, b := range t.blocks {
		if skip := at.line - line; skip < int64(len(b.ends)) {
			begin := 0
			if skip > 0 {
				begin = b.ends[skip-1].text
			}
			last := b.ends[min(upTo-line, int64(len(b.ends)))-1]
			return b.text[begin:last.text:last.text], mark{min(upTo, line+int64(len(b.ends))), last.offset}, true, nil
		}
		line += int64(len(b.ends))
	}
	return nil, at, true, errShort // never: last says that it is there
}

// last is the place behind the tail. The caller has the lock.
func (t *tail) last() mark {
	return mark{t.base.line + t.reader.Line(), t.base.offset + t.reader.Offset()}
}

// fill reads lines that are there, up to line upTo, a block of them at most. The
// caller has the lock.
func (t *tail) fill(upTo int64) error {
	for read := 0; t.last().line < upTo && read < blockSize; {
		line, err := nextLine(t.reader)
		if err != nil {
			return err
		}
		at := t.last()
		read += t.add(at.line, line, at.offset)
	}
	return nil
}

// add puts the message of a line behind the others, and lets go of the first ones
// where they are too many.
func (t *tail) add(number int64, line []byte, offset int64) (size int) {
	var b *block
	if n := len(t.blocks); n > 0 {
		b = t.blocks[n-1]
	}
	size = len(line) + messageExtra
	if b == nil || cap(b.text)-len(b.text) < size {
		b = &block{text: make([]byte, 0, max(size, blockSize))}
		t.blocks = append(t.blocks, b)
		t.size += cap(b.text)
	}
	if line != nil {
		b.text = appendMessage(b.text, number, line)
	}
	b.ends = append(b.ends, lineEnd{len(b.text), offset})
	for t.size > tailSize && len(t.blocks) > 1 {
		first := t.blocks[0]
		t.size -= cap(first.text)
		t.from.line += int64(len(first.ends))
		t.from.offset = first.ends[len(first.ends)-1].offset
		t.blocks[0] = nil
		t.blocks = t.blocks[1:]
	}
	return size
}

// messageExtra is what a message takes beside its line, at most.
const messageExtra = len("id: \ndata: \n\n") + 20

// appendMessage appends a line of the journal as an event with its number. A CR in it
// would end its line early; a JSON text has one only between its tokens, where a blank
// means the same.
func appendMessage(b []byte, number int64, line []byte) []byte {
	b = append(b, "id: "...)
	b = strconv.AppendInt(b, number, 10)
	b = append(b, "\ndata: "...)
	begin := len(b)
	b = append(b, line...)
	if bytes.IndexByte(line, '\r') >= 0 {
		for i, c := range b[begin:] {
			if c == '\r' {
				b[begin+i] = ' '
			}
		}
	}
	return append(b, "\n\n"...)
}

// nextLine gives the next line, nil for one that is too long to be one of ours.
func nextLine(reader *journal.Reader) ([]byte, error) {
	line, err := reader.Next()
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
