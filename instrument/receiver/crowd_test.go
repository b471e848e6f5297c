package receiver

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func descriptors(t *testing.T) int {
	entries, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	return len(entries)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain: ", what)
		}
	}
}

// 2,000 clients that are connected, most of them silent, some in the middle of a
// line, some gone without a word: the others are heard at once, none costs much,
// and nothing is left of any.
func TestSocketCrowd(t *testing.T) {
	crowd := 2000
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	if room := limit.Cur; room < 4200 { // both ends live here
		crowd = int(room)/2 - 100
	}
	require.Greater(t, crowd, 100)
	s, r := listen(t)
	send(t, s, start("first"))
	before, goroutines, files := heap(), runtime.NumGoroutine(), descriptors(t)

	conns := make([]*net.UnixConn, crowd)
	for i := range conns {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.Path, Net: "unix"})
		require.NoError(t, err)
		conns[i] = conn
		switch i % 4 {
		case 1:
			_, err = conn.Write([]byte(`{"event":"log",`))
		case 2:
			_, err = conn.Write([]byte(start(fmt.Sprint(i)) + "\n"))
		}
		require.NoError(t, err)
	}
	eventually(t, "all are in", func() bool { return runtime.NumGoroutine() >= goroutines+crowd })
	if each := int64(heap()-before) / int64(crowd); each > 0 {
		assert.Less(t, each, int64(24<<10), "bytes for each client")
	}

	began := time.Now()
	send(t, s, start("one more"))
	assert.Less(t, time.Since(began), 5*time.Second)
	eventually(t, "those that spoke were heard", func() bool { return len(r.ids()) == crowd/4+2 })

	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "descriptors are closed", func() bool { return descriptors(t) <= files+1 }) // the one more is closed with the test
	// A line that its client never ended is no event, and is told of.
	assert.Len(t, r.faults(), crowd/4)
	assert.LessOrEqual(t, heap(), before+8<<20)
}

// Clients that send a byte now and then hold up nobody, and what they send is
// taken once it is whole.
func TestSocketDrip(t *testing.T) {
	const slow, quick, each = 50, 4, 2000
	s, r := listen(t)
	line := start("slow") + "\n"
	var wg sync.WaitGroup
	for range slow {
		conn := dial(t, s)
		wg.Go(func() {
			for i := range len(line) {
				if _, err := conn.Write([]byte(line[i : i+1])); err != nil {
					t.Error(err)
				}
				time.Sleep(5 * time.Millisecond)
			}
			flush(t, conn)
		})
	}
	began := time.Now()
	var quickOnes sync.WaitGroup
	for range quick {
		quickOnes.Go(func() { send(t, s, strings.Repeat(start("quick")+"\n", each)) })
	}
	quickOnes.Wait()
	assert.Less(t, time.Since(began), 10*time.Second)
	wg.Wait()
	told := map[string]int{}
	for _, id := range r.ids() {
		told[id]++
	}
	assert.Equal(t, map[string]int{"slow": slow, "quick": quick * each}, told)
	assert.Empty(t, r.faults())
}

// A line without an end costs no more than the longest line there may be.
func TestSocketEndlessLine(t *testing.T) {
	s, r := listen(t)
	send(t, s, start("first"))
	before := heap()
	conn := dial(t, s)
	piece := []byte(strings.Repeat("x", 1<<20))
	for range 64 {
		_, err := conn.Write(piece)
		require.NoError(t, err)
	}
	if now := heap(); now > before {
		assert.Less(t, now-before, uint64(12<<20))
	}
	flush(t, conn)
	assert.Equal(t, []string{"line of 67108864 bytes, over the limit of 1048576"}, r.faults())
}
