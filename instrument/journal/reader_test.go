package journal

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// read gives every line of r; a line that was too long stands as "<too long>".
func read(t testing.TB, r *Reader) []string {
	t.Helper()
	lines := []string{}
	for {
		before := r.Line()
		line, err := r.Next()
		switch {
		case err == io.EOF:
			require.Equal(t, before, r.Line())
			return lines
		case errors.Is(err, ErrTooLong):
			lines = append(lines, "<too long>")
		default:
			require.NoError(t, err)
			lines = append(lines, string(line))
		}
		require.Equal(t, before+1, r.Line())
	}
}

func TestReader(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	cases := map[string]struct {
		in   string
		want []string
		torn int
	}{
		"empty":              {"", []string{}, 0},
		"one":                {"a\n", []string{"a"}, 0},
		"blank lines":        {"\n\na\n\n", []string{"", "", "a", ""}, 0},
		"torn":               {"a\nb", []string{"a"}, 1},
		"only torn":          {"abc", []string{}, 3},
		"CR stays":           {"a\r\nb\r\n", []string{"a\r", "b\r"}, 0},
		"NUL tail":           {"a\n\x00\x00\x00", []string{"a"}, 3},
		"NUL line":           {"a\n\x00\x00\nb\n", []string{"a", "\x00\x00", "b"}, 0},
		"half a character":   {"a\n\xe2\x82\nb\xe2", []string{"a", "\xe2\x82"}, 2},
		"over 64 KiB":        {strings.Repeat("y", 70000) + "\nz\n", []string{strings.Repeat("y", 70000), "z"}, 0},
		"longest":            {long + "\nb\n", []string{long, "b"}, 0},
		"too long":           {"a\n" + long + "x\nb\n", []string{"a", "<too long>", "b"}, 0},
		"much too long":      {long + long + long + "\nb\n", []string{"<too long>", "b"}, 0},
		"twice too long":     {long + "x\n" + long + "x\n", []string{"<too long>", "<too long>"}, 0},
		"too long and torn":  {"a\n" + long + long, []string{"a"}, 2 * MaxLine},
		"too long, torn end": {long + "x\nab", []string{"<too long>"}, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for how, src := range map[string]io.Reader{
				"at once":       strings.NewReader(c.in),
				"with the data": iotest.DataErrReader(strings.NewReader(c.in)),
				"in halves":     iotest.HalfReader(strings.NewReader(c.in)),
			} {
				r := NewReader(src)
				got := read(t, r)
				require.Len(t, got, len(c.want), how)
				for i := range got {
					require.True(t, c.want[i] == got[i], "%s: line %d", how, i+1)
				}
				assert.Equal(t, c.torn, r.Torn(), how)
				assert.EqualValues(t, len(c.in)-c.torn, r.Offset(), how)
			}
		})
	}
}

func TestReaderLimit(t *testing.T) {
	in := strings.Repeat("x", 10) + "\n" + strings.Repeat("x", 11) + "\n" + strings.Repeat("y", readSize*3) + "\nend\n"
	r := NewReaderLimit(strings.NewReader(in), 10)
	assert.Equal(t, []string{"xxxxxxxxxx", "<too long>", "<too long>", "end"}, read(t, r))
	assert.EqualValues(t, len(in), r.Offset())
}

// growing is a file that grows between reads.
type growing struct{ bytes.Buffer }

func (g *growing) Read(p []byte) (int, error) {
	if g.Len() == 0 {
		return 0, io.EOF
	}
	return g.Buffer.Read(p)
}

// However the file grows, the lines are the same: every cut into three, and one
// byte after the other.
func TestReaderChunks(t *testing.T) {
	const in = "one\n\ntwo and more\r\n{\"a\":\"\xc3\xa9\"}\ntorn"
	want := read(t, NewReader(strings.NewReader(in)))
	feed := func(chunks ...string) {
		g := &growing{}
		r := NewReader(g)
		got := []string{}
		for _, chunk := range chunks {
			g.WriteString(chunk)
			got = append(got, read(t, r)...)
		}
		require.Equal(t, want, got)
		require.Equal(t, 4, r.Torn())
	}
	for i := range len(in) {
		for j := i; j < len(in); j++ {
			feed(in[:i], in[i:j], in[j:])
		}
	}
	feed(strings.Split(in, "")...)
}

func TestReaderError(t *testing.T) {
	fault := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(fault)))
	line, err := r.Next()
	require.NoError(t, err)
	assert.Equal(t, "a", string(line))
	for range 3 {
		_, err = r.Next()
		require.ErrorIs(t, err, fault)
		assert.EqualError(t, err, "read journal: broken")
	}
	assert.Equal(t, 1, r.Torn())
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestReaderNoProgress(t *testing.T) {
	_, err := NewReader(stuck{}).Next()
	require.ErrorIs(t, err, io.ErrNoProgress)
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("a\nb\n"), uint8(1))
	f.Add([]byte("\n\x00\nhalf"), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		g := &growing{}
		r := NewReader(g)
		got := []string{}
		for rest := in; ; {
			n := min(len(rest), int(size)+1)
			g.Write(rest[:n])
			got = append(got, read(t, r)...)
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		lines := strings.Split(string(in), "\n")
		require.Equal(t, lines[:len(lines)-1], got)
		require.Equal(t, len(lines[len(lines)-1]), r.Torn())
	})
}

func BenchmarkReader(b *testing.B) {
	in := []byte(strings.Repeat(strings.Repeat("x", 200)+"\n", 10000))
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		read(b, NewReader(bytes.NewReader(in)))
	}
}
