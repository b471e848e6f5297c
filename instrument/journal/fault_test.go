package journal

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whichever write fails, how much of it gets through, how often it is tried in vain,
// and whether or not the rest can be cut off at once: what Append said yes to is in the
// file, whole and in order, and nothing else is when the fault is over.
func TestEveryWriteFails(t *testing.T) {
	const appends = 8
	batch := func(i int) string {
		return strings.Repeat(fmt.Sprintf("line of append %d\n", i), 1+i%3)
	}
	for nth := range appends {
		for _, through := range []int{0, 1, 17, 18, 19, 1 << 20} {
			for tries := 1; tries <= 3; tries++ {
				for _, uncut := range []bool{false, true} {
					w, path := create(t)
					readOnly, err := os.Open(path)
					require.NoError(t, err)
					write, file := w.write, w.file
					want := ""
					for i := range appends {
						if i != nth {
							require.NoError(t, w.Append([]byte(batch(i))))
							want += batch(i)
							require.Equal(t, want, content(t, path))
							continue
						}
						w.write = func(b []byte) (int, error) {
							n, err := write(b[:min(through, len(b)-1)])
							require.NoError(t, err)
							if uncut {
								w.file = readOnly // which can not be truncated
							}
							return n, syscall.ENOSPC
						}
						for range tries {
							require.Error(t, w.Append([]byte(batch(i))))
							got := content(t, path)
							if !uncut {
								require.Equal(t, want, got)
							}
							require.True(t, strings.HasPrefix(got, want))
							require.LessOrEqual(t, len(got)-len(want), len(batch(i))-1, "torn once, not more")
						}
						w.write, w.file = write, file
					}
					readOnly.Close()
					require.NoError(t, w.Close())
					assert.Equal(t, want, content(t, path))
				}
			}
		}
	}
}
