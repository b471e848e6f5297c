package telemetry

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxNesting is how deep arrays and objects may stand in one another, the line
// itself included: as deep as encoding/json goes.
const maxNesting = 10_000

// members goes once over a line that should be one JSON object, from member to
// member, and finds out on the way whether it is one: by RFC 8259, with strings
// that are valid UTF-8, and with nothing behind the object.
type members struct {
	b []byte
	i int
	// key and value are the member that next found, as they stand in the line.
	key, value []byte
	// plainKey tells that there is no escape in the key, plain the same of a value
	// that is a string.
	plainKey, plain bool

	begun, valid bool
}

// next finds the next member. When there is none, valid says why: whether the
// object ended, and the line with it.
func (m *members) next() bool {
	b, i := m.b, m.i
	if !m.begun {
		m.begun = true
		if len(b) == 0 || b[0] != '{' {
			return false
		}
		if i = skipSpace(b, 1); i < len(b) && b[i] == '}' {
			m.valid = skipSpace(b, i+1) == len(b)
			return false
		}
	} else {
		i = skipSpace(b, i)
		switch {
		case i == len(b):
			return false
		case b[i] == '}':
			m.valid = skipSpace(b, i+1) == len(b)
			return false
		case b[i] != ',':
			return false
		}
		i = skipSpace(b, i+1)
	}
	if i == len(b) || b[i] != '"' {
		return false
	}
	end, plain := scanString(b, i)
	if end < 0 {
		return false
	}
	m.key, m.plainKey = b[i:end], plain
	if i = skipSpace(b, end); i == len(b) || b[i] != ':' {
		return false
	}
	if i = skipSpace(b, i+1); i == len(b) {
		return false
	}
	if b[i] == '"' {
		end, m.plain = scanString(b, i)
	} else {
		end, m.plain = scanValue(b, i, 1), false
	}
	if end < 0 {
		return false
	}
	m.value, m.i = b[i:end], end
	return true
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// scanString gives the index after the string that begins at i, and whether it has
// no escapes; -1 where it is no valid one.
func scanString(b []byte, i int) (end int, plain bool) {
	plain = true
	for i++; ; {
		// Eight bytes at a time: the lowest bit that is set marks the first byte that
		// is a quote, a backslash, a control character or no ASCII.
		for ; i+8 <= len(b); i += 8 {
			const ones, highs = 0x0101010101010101, 0x8080808080808080
			w := binary.LittleEndian.Uint64(b[i:])
			if odd := (w | (w - ones*' ') | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones)) & highs; odd != 0 {
				i += bits.TrailingZeros64(odd) / 8
				break
			}
		}
		if i >= len(b) {
			return -1, false
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, plain
		case c == '\\':
			plain = false
			if i = scanEscape(b, i+1); i < 0 {
				return -1, false
			}
		case c < ' ':
			return -1, false
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && size == 1 {
				return -1, false
			}
			i += size
		}
	}
}

// scanEscape gives the index after what follows a backslash, -1 where it is
// nothing that may.
func scanEscape(b []byte, i int) int {
	if i == len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if len(b)-i < 5 {
			return -1
		}
		for _, c := range b[i+1 : i+5] {
			if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f') {
				return -1
			}
		}
		return i + 5
	}
	return -1
}

// scanValue gives the index after the value that begins at i, -1 where it is no
// valid one. Depth is how many arrays and objects it stands in.
func scanValue(b []byte, i, depth int) int {
	if i == len(b) {
		return -1
	}
	switch c := b[i]; {
	case c == '"':
		end, _ := scanString(b, i)
		return end
	case c == '-' || '0' <= c && c <= '9':
		return scanNumber(b, i)
	case c == '{' || c == '[':
		return scanNest(b, i, depth+1)
	case c == 't':
		return scanWord(b, i, "true")
	case c == 'f':
		return scanWord(b, i, "false")
	case c == 'n':
		return scanWord(b, i, "null")
	}
	return -1
}

func scanWord(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

// scanNest is scanValue for an array or an object, which is the depth's.
func scanNest(b []byte, i, depth int) int {
	if depth > maxNesting {
		return -1
	}
	object := b[i] == '{'
	closing := b[i] + 2 // both pairs lie so in ASCII
	if i = skipSpace(b, i+1); i < len(b) && b[i] == closing {
		return i + 1
	}
	for {
		if object {
			if i == len(b) || b[i] != '"' {
				return -1
			}
			if i, _ = scanString(b, i); i < 0 {
				return -1
			}
			if i = skipSpace(b, i); i == len(b) || b[i] != ':' {
				return -1
			}
			i = skipSpace(b, i+1)
		}
		if i = scanValue(b, i, depth); i < 0 {
			return -1
		}
		if i = skipSpace(b, i); i == len(b) {
			return -1
		}
		if b[i] == closing {
			return i + 1
		}
		if b[i] != ',' {
			return -1
		}
		i = skipSpace(b, i+1)
	}
}

func scanNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	switch {
	case i == len(b):
		return -1
	case b[i] == '0':
		i++
	case '1' <= b[i] && b[i] <= '9':
		i = skipDigits(b, i+1)
	default:
		return -1
	}
	if i < len(b) && b[i] == '.' {
		from := i + 1
		if i = skipDigits(b, from); i == from {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from := i
		if i = skipDigits(b, from); i == from {
			return -1
		}
	}
	return i
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}
