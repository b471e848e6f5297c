package supervisor

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// following follows the processes of a script, as they are.
type following struct {
	*Processes
	t     *testing.T
	mu    sync.Mutex
	spans map[string]*followed
}

// followed is a span of a process as it was told.
type followed struct {
	name, parent, status string
	ended                bool
	attrs, end           map[string]any
}

func follow(t *testing.T, script string) *following {
	f := &following{t: t, spans: make(map[string]*followed)}
	f.Processes = FollowProcesses(ProcessConfig{PID: shell(t, script), Args: []string{"script"}, Root: "root", Record: f.record})
	t.Cleanup(func() { f.Close(Exit{}) })
	return f
}

func (f *following) record(e telemetry.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.spans[e.SpanID]
	if s == nil {
		s = &followed{parent: e.Parent}
		f.spans[e.SpanID] = s
	}
	var attrs map[string]any
	assert.NoError(f.t, json.Unmarshal(e.Attrs, &attrs))
	switch e.Type {
	case telemetry.SpanStart:
		assert.False(f.t, s.ended)
		s.name, s.attrs = e.Name, attrs
	case telemetry.SpanEnd:
		assert.False(f.t, s.ended, "ended twice: %v", s.name)
		s.ended, s.status, s.end = true, e.Status, attrs
	}
	return nil
}

// open lists the open spans, "name < parent", and how many there ever were.
func (f *following) open() (list []string, all int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.spans {
		parent := "root"
		if p := f.spans[s.parent]; p != nil {
			parent = p.name
		}
		if !s.ended {
			list = append(list, s.name+" < "+parent)
		}
	}
	slices.Sort(list)
	return list, len(f.spans)
}

// until looks until exactly these are open.
func (f *following) until(want ...string) {
	f.t.Helper()
	slices.Sort(want)
	var got []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		f.tell(f.observe(0))
		if got, _ = f.open(); slices.Equal(got, want) {
			return
		}
	}
	assert.Equal(f.t, want, got)
	f.t.FailNow()
}

func (f *following) span(name string) *followed {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.spans {
		if s.name == name {
			return s
		}
	}
	require.FailNow(f.t, "no span of "+name)
	return nil
}

func TestProcessesOfAScript(t *testing.T) {
	t.Parallel()
	f := follow(t, `echo $$; sh -c 'sleep 1001 & exec tail -f /dev/null' & sleep 1.5; exec sleep 1002`)
	f.until("script < root", "tail < script", "sleep < tail", "sleep < script")
	assert.Equal(t, []any{"tail", "-f", "/dev/null"}, f.span("tail").attrs["argv"])
	assert.EqualValues(t, f.config.PID, f.span("tail").attrs["ppid"])
	dir, _ := os.Getwd()
	assert.Equal(t, dir, f.span("tail").attrs["cwd"])
	// COMMAND becomes a sleep, when the other one has ended.
	f.until("sleep < root", "tail < sleep", "sleep < tail")
	require.NoError(t, syscall.Kill(int(f.span("tail").attrs["pid"].(float64)), syscall.SIGKILL))
	if runtime.GOOS == "linux" { // nobody waits for it, so how it ended is seen
		f.until("sleep < root", "sleep < tail")
		assert.Equal(t, "killed", f.span("tail").end["signal"])
		assert.Equal(t, telemetry.StatusError, f.span("tail").status)
	}
	// It goes on although its parent has ended, and although the run does.
	f.Close(Exit{status: 0})
	list, all := f.open()
	assert.Equal(t, []string{"sleep < tail"}, list)
	assert.Equal(t, 4, all)
}

func TestProcessesTellAnExitStatus(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("macOS does not tell the exit status of a zombie")
	}
	t.Parallel()
	f := follow(t, `(sleep 1.5; exit 7) & (sleep 1.5; exit 0) & echo $$; exec sleep 1000`)
	var codes []string
	require.Eventually(t, func() bool {
		f.tell(f.observe(0))
		f.mu.Lock()
		defer f.mu.Unlock()
		codes = nil
		for _, s := range f.spans {
			if s.ended && s.end["exit_code"] != nil {
				codes = append(codes, fmt.Sprint(s.end["exit_code"], s.status))
			}
		}
		return len(codes) == 2
	}, patience, 20*time.Millisecond)
	assert.ElementsMatch(t, []string{"7error", "0ok"}, codes)
}

// A hundred processes, with children of their own; then none.
func TestProcessesOfACrowd(t *testing.T) {
	t.Parallel()
	f := follow(t, `echo $$; i=0; while [ $i -lt 50 ]; do sh -c 'sleep 1000 & wait' & i=$((i+1)); done; wait`)
	want := []string{"script < root"}
	for range 50 {
		want = append(want, "sh < script", "sleep < sh")
	}
	f.until(want...)
	count := f.look()
	assert.Equal(t, 101, count.live)
	assert.Greater(t, count.rss, int64(101*100_000))
	f.mu.Lock()
	for _, s := range f.spans {
		if s.name == "sleep" { // the shells that wait for them end then
			assert.NoError(t, syscall.Kill(int(s.attrs["pid"].(float64)), syscall.SIGKILL))
		}
	}
	f.mu.Unlock()
	f.until("script < root")
	require.Eventually(t, func() bool { f.tell(f.observe(0)); return len(f.tree.known) <= 1 }, patience, 20*time.Millisecond)
	assert.LessOrEqual(t, len(f.census.people), 1)
	if runtime.GOOS == "linux" {
		assert.True(t, count.metered)
	}
	f.Close(Exit{status: 9})
	list, all := f.open()
	assert.Empty(t, list)
	assert.Equal(t, 101, all)
}
