package supervisor

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// castEvent is a line of a recording.
type castEvent struct {
	at   float64
	kind string
	data string
}

func readCast(t *testing.T, b []byte) (header map[string]any, events []castEvent) {
	t.Helper()
	require.True(t, utf8.Valid(b))
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<30)
	require.True(t, lines.Scan())
	require.NoError(t, json.Unmarshal(lines.Bytes(), &header))
	for lines.Scan() {
		var e [3]any
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e), "%s", lines.Text())
		events = append(events, castEvent{e[0].(float64), e[1].(string), e[2].(string)})
	}
	return header, events
}

func spawn(f func()) { go f() }

// output is what the recording shows in all.
func castOutput(events []castEvent) string {
	var b strings.Builder
	for _, e := range events {
		if e.kind == "o" {
			b.WriteString(e.data)
		}
	}
	return b.String()
}

func TestCast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var file bytes.Buffer
		c := NewCast(&file)
		one, two := c.stream(false), c.stream(true)
		c.begin(time.Now(), 101, 33, spawn)
		one.output([]byte("a\"\\\x1b[0m\x00\x7f\xc3"))
		time.Sleep(time.Second)
		two.output([]byte("x\ny\r")) // between the halves of a character of the other
		one.output([]byte("\xa4\xff\xe2\x82"))
		time.Sleep(500 * time.Millisecond)
		c.resize(80, 24)
		two.output([]byte("\nz\n"))
		one.output([]byte("\xe2")) // the sequence before never ends, nor does this
		c.close()
		require.NoError(t, c.Err())

		header, events := readCast(t, file.Bytes())
		require.Equal(t, map[string]any{"version": 2.0, "width": 101.0, "height": 33.0, "timestamp": 946684800.0}, header)
		require.Equal(t, []castEvent{
			{0, "o", "a\"\\\x1b[0m\x00\x7f"},
			{1, "o", "x\r\ny\r"},
			{1, "o", "ä\ufffd"},
			{1.5, "r", "80x24"},
			{1.5, "o", "\nz\r\n"},
			{1.5, "o", "\ufffd\ufffd"},
			{1.5, "o", "\ufffd"},
		}, events)
	})
}

// What was shown is in the file soon, so that a KILL loses little.
func TestCastIsWrittenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var file bytes.Buffer
		c := NewCast(writerFunc(func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return file.Write(b)
		}))
		s := c.stream(false)
		c.begin(time.Now(), 80, 24, spawn)
		s.output([]byte("shown"))
		time.Sleep(2 * castBatch)
		synctest.Wait()
		mu.Lock()
		require.Contains(t, file.String(), `"o","shown"]`)
		mu.Unlock()
		c.close()
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestCastLimit(t *testing.T) {
	var file bytes.Buffer
	c := NewCast(&file)
	c.limit = 10_000
	s := c.stream(false)
	c.begin(time.Now(), 80, 24, spawn)
	for range 100 {
		s.output(bytes.Repeat([]byte("0123456789"), 50))
	}
	c.close()
	require.ErrorIs(t, c.Err(), ErrCastFull)
	require.LessOrEqual(t, file.Len(), 10_000)
	require.Greater(t, file.Len(), 9_000)
	_, events := readCast(t, file.Bytes()) // whole lines only
	require.Equal(t, strings.Repeat("0123456789", 50*len(events)), castOutput(events))
	s.output([]byte("more")) // nothing happens
}

func TestCastWriteFails(t *testing.T) {
	full := errors.New("disk full")
	c := NewCast(writerFunc(func([]byte) (int, error) { return 0, full }))
	s := c.stream(false)
	c.begin(time.Now(), 80, 24, spawn)
	s.output([]byte("x"))
	c.close()
	require.ErrorIs(t, c.Err(), full)
}

// A disk that hangs delays output once, and not for long.
func TestCastStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		c := NewCast(writerFunc(func(b []byte) (int, error) { <-hang; return len(b), nil }))
		s := c.stream(false)
		c.begin(time.Now(), 80, 24, spawn)
		begun := time.Now()
		for range 10 {
			s.output(make([]byte, 1<<20))
		}
		require.Equal(t, castStuck, time.Since(begun))
		c.close()
		require.ErrorIs(t, c.Err(), ErrCastSlow)
		close(hang)
	})
}

// Bytes are looked at eight at a time: each one is found in each place, whatever stands
// around it.
func TestCastLooksAtEveryByte(t *testing.T) {
	for c := range utf8.RuneSelf {
		for _, around := range []byte{' ', '!', '#', '[', ']', '~', '\n', 0x7f} {
			for at := range 19 {
				b := bytes.Repeat([]byte{around}, 19)
				b[at] = byte(c)
				var got string
				require.NoError(t, json.Unmarshal(append(new(tap).encode([]byte{'"'}, b), '"'), &got), "%q", b)
				require.Equal(t, string(b), got)
			}
		}
	}
}

func TestCastTime(t *testing.T) {
	for at, want := range map[time.Duration]string{
		0: "[0.000000", -1: "[0.000000", 499: "[0.000000", 500: "[0.000001",
		1234567891: "[1.234568", 999_999_500: "[1.000000", time.Hour + 1000: "[3600.000001",
	} {
		require.Equal(t, want, string(castTime(nil, at)))
	}
}

func BenchmarkCastEncode(b *testing.B) {
	text := bytes.Repeat([]byte("a line of what a program shows, with \"some\" words and C:\\paths in it and more of it to the end\r\n"), 600)
	var line []byte
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		line = new(tap).encode(line[:0], text)
	}
}

func FuzzCastEncode(f *testing.F) {
	f.Add([]byte("plain"), []byte("\xc3"), []byte("\xa4"))
	f.Add([]byte("\xf0\x9f"), []byte("\x98"), []byte("\x80\"\\\n"))
	f.Add([]byte("\xff\xfe"), []byte("\r"), []byte("\n"))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		whole := append(append(append([]byte(nil), a...), b...), c...)
		tap := &tap{}
		line := []byte{'"'}
		for _, part := range [][]byte{a, b, c} {
			line = tap.encode(line, part)
		}
		for range tap.carry {
			line = append(line, `\ufffd`...)
		}
		var got string
		if err := json.Unmarshal(append(line, '"'), &got); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if want := string([]rune(string(whole))); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

// The recording of a run holds what its terminal showed, and no keys.
func TestRecordedRun(t *testing.T) {
	path := t.TempDir() + "/cast"
	term := newTerminal(t)
	cmd := term.run(testConfig{Cast: path}, "sh", "-c", "stty -echo; echo ready ä; read x; echo got it; stty size; read x; exit 0")
	term.expect("ready")
	require.NoError(t, pty.Setsize(term.master, &pty.Winsize{Rows: 10, Cols: 20}))
	eventually(t, "the new size is recorded", func() bool { b, _ := os.ReadFile(path); return bytes.Contains(b, []byte("20x10")) })
	term.send("secret\n")
	term.expect("10 20")
	term.send("\n")
	require.Zero(t, wait(t, cmd))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	header, events := readCast(t, b)
	require.Equal(t, 101.0, header["width"])
	require.Equal(t, "ready ä\r\ngot it\r\n10 20\r\n", castOutput(events))
	require.NotContains(t, string(b), "secret")

	// Without a terminal it is stdout that is recorded, as a terminal would show it.
	_, _, status := piped(t, testConfig{Cast: path}, "", "printf", "a\nb\r\n")
	require.Zero(t, status)
	b, err = os.ReadFile(path)
	require.NoError(t, err)
	_, events = readCast(t, b)
	require.Equal(t, "a\r\nb\r\n", castOutput(events))
}
