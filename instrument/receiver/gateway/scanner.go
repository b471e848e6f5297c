package gateway

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// field names a value that somebody looks for. 0 is none.
type field int

// want is a place in a JSON document and what is looked for there. Of what is
// nobody's wish only the extent is found.
type want struct {
	field   field
	keep    int  // how many bytes of a string or a scalar are kept for the reader
	pieces  bool // a string is also told piece by piece, however long
	members map[string]*want
	items   *want
}

// token is what a scanner has to tell of a wanted value.
type token int

const (
	opened token = iota // an object or array begins
	closed              // it ended
	piece               // a part of a string, escapes as they stand
	text                // a string ended: its first bytes, escapes as they stand
	scalar              // a number, true, false or null: its first bytes
)

const (
	maxKey    = 64
	maxScalar = 40
)

// frame is an object or array that the scanner is in, all of them wanted: the
// stack is as deep as the wishes.
type frame struct {
	at     *want
	object bool
	key    bool  // the next string is a key
	member *want // what is wanted of the value to come
}

// scanner reads one JSON document as it comes, in pieces of any size, and tells of
// wanted values. It needs the same memory whatever the document. It does not
// validate: of what is not JSON it tells anything or nothing, and stays sane.
type scanner struct {
	root *want
	tell func(t token, f field, b []byte)

	stack    []frame
	begun    bool // the document's one value has begun
	inString bool
	isKey    bool // ... that is a member's name
	escaped  bool // ... whose next byte belongs to a backslash
	inScalar bool
	skip     int   // depth of objects and arrays that nobody wants
	at       *want // what is wanted of the string or scalar at hand
	kept     []byte
}

func newScanner(root *want, tell func(token, field, []byte)) *scanner {
	return &scanner{root: root, tell: tell}
}

// reset makes the scanner ready for another document.
func (s *scanner) reset() {
	*s = scanner{root: s.root, tell: s.tell, stack: s.stack[:0], kept: s.kept[:0]}
}

func (s *scanner) write(b []byte) {
	for len(b) > 0 {
		switch {
		case s.inString:
			b = s.readString(b)
		case s.inScalar:
			b = s.readScalar(b)
		case s.skip > 0:
			b = s.pass(b)
		default:
			b = s.readStructure(b)
		}
	}
}

// end says that the document is complete.
func (s *scanner) end() {
	if s.inScalar {
		s.endScalar()
	}
}

func (s *scanner) readStructure(b []byte) []byte {
	for i, c := range b {
		switch c {
		case ' ', '\t', '\r', '\n', ':':
		case ',':
			if n := len(s.stack); n > 0 && s.stack[n-1].object {
				s.stack[n-1].key, s.stack[n-1].member = true, nil
			}
		case '"':
			s.kept = s.kept[:0]
			s.inString, s.isKey = true, false
			if n := len(s.stack); n > 0 && s.stack[n-1].key {
				s.isKey, s.at = true, nil
			} else {
				s.at = s.next()
			}
			return b[i+1:]
		case '{', '[':
			at := s.next()
			if at == nil || (at.members == nil && at.items == nil && at.field == 0) {
				s.skip = 1
				return b[i+1:]
			}
			s.stack = append(s.stack, frame{at: at, object: c == '{', key: c == '{'})
			if at.field != 0 {
				s.tell(opened, at.field, nil)
			}
		case '}', ']':
			n := len(s.stack)
			if n == 0 {
				continue
			}
			at := s.stack[n-1].at
			s.stack = s.stack[:n-1]
			if at.field != 0 {
				s.tell(closed, at.field, nil)
			}
		default:
			s.inScalar, s.at, s.kept = true, s.next(), s.kept[:0]
			return b[i:]
		}
	}
	return nil
}

// next is what is wanted of the value that begins.
func (s *scanner) next() *want {
	n := len(s.stack)
	switch {
	case n == 0 && s.begun:
		return nil
	case n == 0:
		s.begun = true
		return s.root
	case s.stack[n-1].object:
		return s.stack[n-1].member
	}
	return s.stack[n-1].at.items
}

// pass goes to the end of what nobody wants.
func (s *scanner) pass(b []byte) []byte {
	for i, c := range b {
		switch c {
		case '"':
			s.inString, s.isKey, s.at = true, false, nil
			return b[i+1:]
		case '{', '[':
			s.skip++
		case '}', ']':
			if s.skip--; s.skip == 0 {
				return b[i+1:]
			}
		}
	}
	return nil
}

// readString goes to the end of a string.
func (s *scanner) readString(b []byte) []byte {
	i := 0
	if s.escaped {
		s.escaped, i = false, 1
	}
	for i < len(b) {
		i += special(b[i:])
		if i == len(b) {
			break
		}
		if b[i] == '"' {
			s.keepString(b[:i])
			s.endString()
			return b[i+1:]
		}
		i += 2
	}
	s.escaped = i > len(b)
	s.keepString(b)
	return nil
}

// special is the index of the first quote or backslash, len(b) if there is none.
// Most of what passes are long strings, so it looks at eight bytes at a time: a
// byte of a word is zero where subtracting one borrows from its high bit.
func special(b []byte) int {
	const (
		ones        = 0x0101010101010101
		highs       = 0x8080808080808080
		quotes      = ones * '"'
		backslashes = ones * '\\'
	)
	i := 0
	for ; i+8 <= len(b); i += 8 {
		word := binary.LittleEndian.Uint64(b[i:])
		q, s := word^quotes, word^backslashes
		if found := ((q-ones)&^q | (s-ones)&^s) & highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(b) && b[i] != '"' && b[i] != '\\'; i++ {
	}
	return i
}

func (s *scanner) keepString(b []byte) {
	switch {
	case len(b) == 0:
	case s.isKey:
		// One byte more than a key may have, so that a longer one fits no wish.
		s.kept = append(s.kept, b[:min(len(b), maxKey+1-len(s.kept))]...)
	case s.at != nil && s.at.field != 0:
		s.kept = append(s.kept, b[:min(len(b), s.at.keep-len(s.kept))]...)
		if s.at.pieces {
			s.tell(piece, s.at.field, b)
		}
	}
}

func (s *scanner) endString() {
	s.inString = false
	switch {
	case s.isKey:
		s.isKey = false
		top := &s.stack[len(s.stack)-1]
		top.key = false
		if bytes.IndexByte(s.kept, '\\') >= 0 {
			top.member = top.at.members[unescape(s.kept)]
		} else {
			top.member = top.at.members[string(s.kept)]
		}
	case s.at != nil && s.at.field != 0:
		s.tell(text, s.at.field, s.kept)
	}
}

func (s *scanner) readScalar(b []byte) []byte {
	for i, c := range b {
		switch c {
		case ' ', '\t', '\r', '\n', ',', ']', '}', ':', '"', '[', '{':
			s.endScalar()
			return b[i:]
		}
		if s.at != nil && s.at.field != 0 && len(s.kept) < maxScalar {
			s.kept = append(s.kept, c)
		}
	}
	return nil
}

func (s *scanner) endScalar() {
	s.inScalar = false
	if s.at != nil && s.at.field != 0 {
		s.tell(scalar, s.at.field, s.kept)
	}
}
