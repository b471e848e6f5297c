package otlp

import "errors"

// The wire format of protobuf (https://protobuf.dev/programming-guides/encoding),
// of which OTLP's messages need four sorts of fields. Only what is asked for is
// looked into, and nothing is copied: a batch is read where it lies.

// Wire types.
const (
	varintType = 0
	fixed64    = 1
	bytesType  = 2
	fixed32    = 5
)

// tagOf is how a field of a message begins: its number and its wire type. One of
// another type than the message has it is not known, and skipped.
func tagOf(number, wireType uint64) uint64 { return number<<3 | wireType }

var errMalformed = errors.New("a field that is cut off or cannot be")

// fields goes over the fields of an encoded message.
type fields struct {
	rest string
	tag  uint64
	// num is the value of a number, data that of anything with a length.
	num  uint64
	data string
	bad  bool
}

// next finds the next field. When there is none, err says whether the message ended.
func (f *fields) next() bool {
	if f.rest == "" {
		return false
	}
	tag, n := uvarint(f.rest)
	if n == 0 || tag>>3 == 0 || tag>>3 > maxField {
		f.bad = true
		return false
	}
	rest := f.rest[n:]
	switch tag & 7 {
	case varintType:
		f.num, n = uvarint(rest)
		f.bad = n == 0
	case fixed64:
		if n = 8; len(rest) < n {
			f.bad = true
		} else {
			f.num = uint64(rest[0]) | uint64(rest[1])<<8 | uint64(rest[2])<<16 | uint64(rest[3])<<24 |
				uint64(rest[4])<<32 | uint64(rest[5])<<40 | uint64(rest[6])<<48 | uint64(rest[7])<<56
		}
	case bytesType:
		var size uint64
		size, n = uvarint(rest)
		if n == 0 || size > uint64(len(rest)-n) {
			f.bad = true
		} else {
			f.data = rest[n : n+int(size)] // #nosec G115 -- no larger than what is there
			n += int(size)                 // #nosec G115
		}
	case fixed32:
		n = 4
		f.bad = len(rest) < n
	default: // groups, which OTLP never had
		f.bad = true
	}
	if f.bad {
		return false
	}
	f.tag, f.rest = tag, rest[n:]
	return true
}

// err is nil where all fields were read.
func (f *fields) err() error {
	if f.bad {
		return errMalformed
	}
	return nil
}

// maxField is the largest number of a field.
const maxField = 1<<29 - 1

// uvarint reads a number of variable length, and how many bytes that took: 0 where it
// is none.
func uvarint(s string) (v uint64, n int) {
	for shift := uint(0); n < len(s); shift += 7 {
		c := s[n]
		n++
		if c < 0x80 {
			if n == 10 && c > 1 {
				return 0, 0
			}
			return v | uint64(c)<<shift, n
		}
		if n == 10 {
			return 0, 0
		}
		v |= uint64(c&0x7f) << shift
	}
	return 0, 0
}

// descend gives the content of the first field along a path of field numbers.
func descend(message string, path ...uint64) (string, bool) {
next:
	for _, number := range path {
		for f := (fields{rest: message}); f.next(); {
			if f.tag == tagOf(number, bytesType) {
				message = f.data
				continue next
			}
		}
		return "", false
	}
	return message, true
}
