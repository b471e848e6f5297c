package supervisor

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// village is a table of processes that a test makes up, and what was told of them. It
// lives in fake time.
type village struct {
	t      *testing.T
	mu     sync.Mutex
	epoch  time.Time
	table  map[int]processStat
	args   map[int][]string
	looks  int
	events []telemetry.Event
	told   []string
	names  map[string]string // of spans
	*Processes
}

const chief = 10 // process id of COMMAND, which its monitor, 9, started

func newVillage(t *testing.T) *village {
	v := &village{t: t, epoch: time.Now(), table: make(map[int]processStat), args: make(map[int][]string), names: map[string]string{"root": "root"}}
	v.enter(chief, 9, "analyze")
	v.Processes = FollowProcesses(ProcessConfig{
		PID: chief, Args: []string{"./analyze", "--api-key", "secret"}, Root: "root", Record: v.record,
		Mask: func(args []string) []string {
			return strings.Split(strings.ReplaceAll(strings.Join(args, "\n"), "secret", "***"), "\n")
		},
		kernel: kernel{list: v.list, fill: func([]processStat, question) {}, close: func() {}, args: func(pid int) []string { return v.args[pid] },
			dir: func(int) string { return "/work" },
			began: func(p *processStat, _ time.Time) time.Time {
				return v.epoch.Add(time.Duration(p.start) * time.Millisecond)
			}},
	})
	t.Cleanup(func() { v.Close(Exit{}) })
	return v
}

func (v *village) list(table []processStat, skip map[int]struct{}) []processStat {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.looks++
	for pid, p := range v.table {
		if _, ok := skip[pid]; !ok {
			table = append(table, p)
		}
	}
	return table
}

func (v *village) enter(pid, parent int, args ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := processStat{pid: pid, parent: parent, session: 9, start: uint64(time.Since(v.epoch).Milliseconds()) + 1, rss: 1000}
	copy(p.name[:], args[0])
	v.table[pid], v.args[pid] = p, args
}

func (v *village) leave(pids ...int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, pid := range pids {
		delete(v.table, pid)
		for child, p := range v.table {
			if p.parent == pid {
				p.parent = 1
				v.table[child] = p
			}
		}
	}
}

func (v *village) change(pid int, change func(*processStat)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.table[pid]
	change(&p)
	v.table[pid] = p
}

func (v *village) record(e telemetry.Event) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.events = append(v.events, e)
	second := int(time.Since(v.epoch).Seconds())
	switch e.Type {
	case telemetry.SpanStart:
		if old := v.names[e.SpanID]; old != "" {
			v.told = append(v.told, fmt.Sprintf("%d %s goes on as %s", second, old, e.Name))
		} else {
			v.told = append(v.told, fmt.Sprintf("%d %s below %s", second, e.Name, v.names[e.Parent]))
		}
		v.names[e.SpanID] = e.Name
	case telemetry.SpanEnd:
		v.told = append(v.told, strings.TrimSpace(fmt.Sprintf("%d %s ended %s %s", second, v.names[e.SpanID], e.Status, e.Error)))
	case telemetry.Log:
		v.told = append(v.told, fmt.Sprintf("%d %s", second, e.Message))
	}
	return nil
}

// wait lets time pass, and gives what was told meanwhile.
func (v *village) wait(d time.Duration) []string {
	time.Sleep(d)
	synctest.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	told := v.told
	v.told = nil
	return told
}

func (v *village) attrs(name string, kind telemetry.Type) map[string]any {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.events {
		if e.Type == kind && v.names[e.SpanID] == name {
			var attrs map[string]any
			require.NoError(v.t, json.Unmarshal(e.Attrs, &attrs))
			return attrs
		}
	}
	require.FailNow(v.t, "nothing was told of "+name)
	return nil
}

func TestProcesses(t *testing.T) {
	bubble(t, "who is there at two looks", func(t *testing.T) {
		v := newVillage(t)
		assert.Equal(t, []string{"0 analyze below root"}, v.wait(3*time.Second))
		assert.Equal(t, map[string]any{"pid": 10., "ppid": 9., "argv": []any{"./analyze", "--api-key", "***"}, "cwd": "/work"}, v.attrs("analyze", telemetry.SpanStart))
		v.enter(11, chief, "/usr/bin/node", "agent.js", "--token=secret")
		v.enter(12, 11, "bash")
		v.enter(20, 1, "stranger")
		v.change(20, func(p *processStat) { p.session = 20 })
		v.wait(time.Second)
		v.enter(13, chief, "brief")
		assert.Equal(t, []string{"4 node below analyze", "4 bash below node"}, v.wait(time.Second))
		assert.Equal(t, []any{"/usr/bin/node", "agent.js", "--token=***"}, v.attrs("node", telemetry.SpanStart)["argv"])
		for _, e := range v.events {
			if v.names[e.SpanID] == "bash" {
				assert.Equal(t, float64(v.epoch.UnixMicro())/1e6+3.001, e.TS.F, "as the kernel says, not when it was seen")
			}
		}
		v.leave(13)
		v.change(12, func(p *processStat) { p.own, p.rss, p.peak = use{cpu: 1500 * time.Millisecond}, 5000, 7000 })
		v.wait(time.Second)
		v.leave(11, 12)
		assert.Equal(t, []string{"6 bash ended", "6 node ended"}, v.wait(time.Second))
		assert.Equal(t, map[string]any{"cpu_ms": 1500., "peak_rss_bytes": 7000.}, v.attrs("bash", telemetry.SpanEnd))
		v.leave(chief)
		assert.Empty(t, v.wait(time.Second), "how it ended is told by Close")
		v.Close(Exit{status: 3 << 8, CPU: 9 * time.Second, Ended: v.epoch.Add(7500 * time.Millisecond)})
		assert.Equal(t, []string{"8 analyze ended error exit status 3"}, v.wait(0))
		last := v.events[len(v.events)-1]
		assert.Equal(t, float64(v.epoch.UnixMicro())/1e6+7.5, last.TS.F)
		assert.JSONEq(t, `{"cpu_ms": 0, "exit_code": 3, "peak_rss_bytes": 1000, "processes_seen": 4, "processes_shown": 3,
			"sample": {"cpu_ms": 9000, "rss_bytes": 0, "processes": 0}}`, string(last.Attrs))
		v.Close(Exit{})
		assert.Empty(t, v.wait(time.Minute))
	})
	bubble(t, "an orphan, and a number that is used again", func(t *testing.T) {
		v := newVillage(t)
		v.enter(11, chief, "shell")
		v.enter(12, 11, "daemon")
		assert.Equal(t, []string{"0 analyze below root", "1 shell below analyze", "1 daemon below shell"}, v.wait(3*time.Second))
		v.leave(11)
		v.wait(100 * time.Millisecond)
		v.enter(11, chief, "other")
		v.enter(13, 12, "worker")
		assert.Equal(t, []string{"3 shell ended", "4 other below analyze", "4 worker below daemon"}, v.wait(3*time.Second))
		v.leave(chief, 11)
		v.Close(Exit{Code: 143, status: 15})
		assert.Equal(t, []string{"6 other ended", "6 analyze ended error signal: terminated"}, v.wait(0), "what goes on has no end")
	})
	bubble(t, "a parent without a span", func(t *testing.T) {
		v := newVillage(t)
		v.wait(2 * time.Second)
		v.enter(11, chief, "brief")
		v.wait(700 * time.Millisecond)
		v.enter(12, 11, "daemon")
		v.wait(700 * time.Millisecond)
		v.leave(11)
		assert.Equal(t, []string{"4 daemon below analyze"}, v.wait(2*time.Second))
	})
	bubble(t, "how one ended that nobody waits for", func(t *testing.T) {
		v := newVillage(t)
		v.enter(11, chief, "failed")
		v.enter(12, chief, "killed")
		v.enter(13, chief, "discreet")
		v.wait(3 * time.Second)
		v.change(11, func(p *processStat) { p.state, p.status, p.known, p.rss = zombie, 4<<8, true, 0 })
		v.change(12, func(p *processStat) { p.state, p.status, p.known = zombie, 9, true })
		v.change(13, func(p *processStat) { p.state = zombie })
		assert.ElementsMatch(t, []string{"3 failed ended error exit status 4", "3 killed ended error signal: killed", "3 discreet ended"}, v.wait(time.Second))
		assert.Equal(t, map[string]any{"cpu_ms": 0., "exit_code": 4., "peak_rss_bytes": 1000.}, v.attrs("failed", telemetry.SpanEnd))
		assert.Equal(t, map[string]any{"cpu_ms": 0., "peak_rss_bytes": 1000.}, v.attrs("discreet", telemetry.SpanEnd))
		v.leave(11, 12, 13)
		assert.Empty(t, v.wait(5*time.Second), "once")
		v.enter(14, chief, "found dead")
		v.change(14, func(p *processStat) { p.state = zombie })
		assert.Empty(t, v.wait(5*time.Second))
	})
	bubble(t, "one that becomes another program", func(t *testing.T) {
		v := newVillage(t)
		v.enter(11, chief, "sh")
		v.wait(3 * time.Second)
		became := func(name string) {
			v.change(11, func(p *processStat) {
				p.name = [16]byte{}
				copy(p.name[:], name)
				v.args[11] = []string{"/opt/" + name}
			})
		}
		became("node")
		assert.Equal(t, []string{"3 sh goes on as node"}, v.wait(2*time.Second))
		for i := range 20 {
			became(fmt.Sprint("step", i))
			v.wait(time.Second)
		}
		starts := 0
		for _, e := range v.events {
			if e.Type == telemetry.SpanStart {
				starts++
			}
		}
		assert.Equal(t, 2+maxRenames, starts)
	})
	bubble(t, "COMMAND was quick", func(t *testing.T) {
		v := newVillage(t)
		v.Close(Exit{})
		gone := make(map[int]processStat)
		c := newCensus(v.config, v.epoch)
		e := c.begin(gone)
		assert.Equal(t, "analyze", e.Name)
		assert.JSONEq(t, `{"pid": 10, "argv": ["./analyze", "--api-key", "***"]}`, string(e.Attrs))
		assert.Empty(t, c.update(v.epoch, gone))
		e = c.finish(Exit{}, processSample{at: v.epoch})
		assert.Equal(t, telemetry.StatusOK, e.Status)
		e = c.finish(Exit{Code: 125, Err: ErrMonitorKilled}, processSample{at: v.epoch})
		assert.Empty(t, e.Status+e.Error, "not known")
	})
	bubble(t, "the run is over", func(t *testing.T) {
		v := newVillage(t)
		v.wait(time.Second)
		v.config.Record = func(telemetry.Event) error { return run.ErrClosed }
		v.enter(11, chief, "late")
		v.wait(5 * time.Second)
		<-v.done
	})
	bubble(t, "one look serves the watchdog too", func(t *testing.T) {
		v := newVillage(t)
		v.wait(10*time.Second + 200*time.Millisecond)
		before := v.looks
		for range 20 {
			v.look()
			v.wait(time.Second)
		}
		assert.Equal(t, 20, v.looks-before)
		assert.Equal(t, 1, v.look().live)
	})
}

// A build starts ten thousand processes, of which a person wants to see a few.
func TestProcessesFlood(t *testing.T) {
	bubble(t, "brief ones", func(t *testing.T) {
		v := newVillage(t)
		for i := range 10_000 {
			v.enter(100+i, chief, "cc")
			v.wait(30 * time.Millisecond)
			v.leave(100 + i)
		}
		v.wait(2 * time.Second)
		assert.Less(t, len(v.events), 100)
		assert.Len(t, v.census.people, 1)
		assert.LessOrEqual(t, len(v.tree.known), 1)
		assert.Empty(t, v.tree.strangers)
	})
	bubble(t, "ones that stay for three seconds", func(t *testing.T) {
		v := newVillage(t)
		const crowd = 100
		for i := range 100 {
			for k := range crowd {
				v.enter(100+i*crowd+k, chief, "cc")
			}
			v.wait(3 * time.Second)
			for k := range crowd {
				v.leave(100 + i*crowd + k)
			}
		}
		assert.Equal(t, maxProcessSpans/4, v.census.spans, "the rest is left for those that stay")
		v.enter(20_000, chief, "agent")
		v.wait(7 * time.Second)
		assert.Equal(t, maxProcessSpans/4+1, v.census.spans)
		assert.LessOrEqual(t, v.census.seen, 10_002)
		assert.Greater(t, v.census.seen, 9_000)
		assert.Less(t, len(v.events), 2*maxProcessSpans/4+200)
		assert.Len(t, v.census.people, 2)
	})
	bubble(t, "ones that stay", func(t *testing.T) {
		v := newVillage(t)
		for i := range maxProcessSpans + 200 {
			v.enter(100+i, chief, "worker")
		}
		v.wait(90 * time.Second)
		assert.Equal(t, maxProcessSpans, v.census.spans)
		var logs []string
		starts := 0
		for _, e := range v.events {
			switch e.Type {
			case telemetry.Log:
				logs = append(logs, e.Message)
			case telemetry.SpanStart:
				starts++
			}
		}
		assert.Equal(t, maxProcessSpans, starts)
		assert.Equal(t, []string{"2000 processes were shown; those to come are only counted"}, logs)
	})
}

func TestProcessName(t *testing.T) {
	for want, args := range map[string][]string{
		"node":    {"/usr/bin/node", "x"},
		"bash":    {"-bash"},
		"kernel":  nil,
		"python3": {"python3"},
		"a b":     {"/opt/a b", "x"},
	} {
		who := person{}
		copy(who.name[:], "kernel")
		assert.Equal(t, want, who.program(args))
	}
	titled := person{}
	copy(titled.name[:], "nginx")
	assert.Equal(t, "nginx", titled.program([]string{"nginx: master process /usr/sbin/nginx"}))
	assert.Equal(t, "nginx", titled.program([]string{""}))
	assert.Equal(t, "process", (&person{}).program(nil))
}

func TestProcessArgsAreCut(t *testing.T) {
	c := newCensus(ProcessConfig{kernel: kernel{dir: func(int) string { return "" }}}, time.Now())
	args := append([]string{"sh", strings.Repeat("ü", 5000)}, make([]string, 200)...)
	e := c.start(&person{}, args, time.Now())
	var attrs struct{ Argv []string }
	require.NoError(t, json.Unmarshal(e.Attrs, &attrs))
	assert.Len(t, attrs.Argv, keptArgs+1)
	assert.Equal(t, strings.Repeat("ü", maxMessage)+"…", attrs.Argv[1])
	assert.Equal(t, "…", attrs.Argv[keptArgs])
}
