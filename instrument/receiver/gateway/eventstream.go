package gateway

import "bytes"

// eventStream reads a text/event-stream (WHATWG HTML, 9.2) as it comes, in pieces
// of any size, and hands on the data of each event without keeping it.
type eventStream struct {
	data func([]byte) // of the event at hand; lines are joined by a newline
	end  func()       // the event is complete

	name   []byte // of the field, as far as it was read
	state  streamState
	inData bool // the event has data
	cr     bool // the last byte was a CR, so a LF now is part of the same line end
}

type streamState int

const (
	atName  streamState = iota // of a field, at the beginning of a line
	atSpace                    // behind the colon of a data field
	inValue                    // of a data field
	inOther                    // of what is no data
)

var dataName = []byte("data")

func (e *eventStream) write(b []byte) {
	for len(b) > 0 {
		if e.cr {
			e.cr = false
			if b[0] == '\n' {
				b = b[1:]
				continue
			}
		}
		n := bytes.IndexByte(b, '\n')
		if n < 0 {
			n = len(b)
		}
		if r := bytes.IndexByte(b[:n], '\r'); r >= 0 {
			n = r
		}
		e.line(b[:n])
		if n == len(b) {
			return
		}
		e.cr = b[n] == '\r'
		e.lineEnd()
		b = b[n+1:]
	}
}

// line takes a part of a line.
func (e *eventStream) line(b []byte) {
	for len(b) > 0 {
		switch e.state {
		case atName:
			colon := bytes.IndexByte(b, ':')
			part := b
			if colon >= 0 {
				part = b[:colon]
			}
			// One byte more than the name has, so that a longer one is another.
			e.name = append(e.name, part[:min(len(part), len(dataName)+1-len(e.name))]...)
			if colon < 0 {
				return
			}
			b = b[colon+1:]
			e.state = inOther
			if bytes.Equal(e.name, dataName) {
				e.state = atSpace
				e.beginData()
			}
		case atSpace:
			e.state = inValue
			if b[0] == ' ' {
				b = b[1:]
			}
		case inValue:
			e.data(b)
			return
		case inOther:
			return
		}
	}
}

func (e *eventStream) beginData() {
	if e.inData {
		e.data([]byte("\n"))
	}
	e.inData = true
}

func (e *eventStream) lineEnd() {
	if e.state == atName && len(e.name) == 0 { // an empty line
		e.close()
		return
	}
	if e.state == atName && bytes.Equal(e.name, dataName) {
		e.beginData()
	}
	e.state, e.name = atName, e.name[:0]
}

// close ends the event at hand, also one whose empty line never came: what it
// says was sent all the same.
func (e *eventStream) close() {
	if e.inData {
		e.end()
	}
	e.state, e.name, e.inData = atName, e.name[:0], false
}
