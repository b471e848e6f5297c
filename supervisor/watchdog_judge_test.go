package supervisor

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// scene plays a run in which time passes only as told, with a judge that looks once a
// second. What it says is folded, as the recorder would.
type scene struct {
	t        testing.TB
	state    *run.State
	judge    *judge
	now      time.Duration
	terminal signs
	cpu      float64 // of one core, while time passes
	used     time.Duration
	samples  int
	odd      []oddProcess
	told     []string
	events   []telemetry.Event
	// crowd: processes come and go, and are told of, every second.
	crowd  bool
	comers int
}

func newScene(t testing.TB, limits ...string) *scene {
	timeout, err := ParseStallTimeout(limits)
	require.NoError(t, err)
	least, _ := timeout.shortest()
	s := &scene{t: t, state: run.NewState(), judge: newJudge(timeout, min(max(least/4, shortestTick), longestPause))}
	s.apply(telemetry.Event{Type: telemetry.SpanStart, SpanID: "root", Kind: telemetry.KindRun, Source: telemetry.SourceObsrun})
	return s
}

func (s *scene) apply(e telemetry.Event) {
	e.RecvMS = telemetry.N(s.now.Milliseconds())
	if !e.TS.OK {
		e.TS = telemetry.F(1e9 + s.now.Seconds())
	}
	s.state.Apply(e)
}

func (s *scene) wait(d time.Duration) {
	for end := s.now + d; s.now < end; {
		step := min(time.Second, end-s.now)
		s.now += step
		s.used += time.Duration(s.cpu * float64(step))
		if s.crowd && s.comers < 3000 {
			s.comers++
			s.comeAndGo(fmt.Sprint("process", s.comers))
		}
		s.look()
	}
}

func (s *scene) comeAndGo(id string) {
	for _, kind := range []telemetry.Type{telemetry.SpanStart, telemetry.SpanUpdate, telemetry.SpanEnd} {
		s.apply(telemetry.Event{Type: kind, SpanID: id, Kind: telemetry.KindProcess, Parent: "root", Source: telemetry.SourceProcess})
	}
}

func (s *scene) look() {
	sample := func() processCount {
		s.samples++
		return processCount{root: 4711, used: s.used, live: 2, command: "sh", odd: s.odd}
	}
	events, _ := s.judge.look(s.now, func(f func(*run.State)) { f(s.state) }, s.terminal, sample)
	for _, e := range events {
		s.told = append(s.told, fmt.Sprintf("%v %s %s", s.now, strings.TrimPrefix(string(e.Type), "span_"), e.SpanID))
		s.events = append(s.events, e)
		s.apply(e)
	}
}

// play runs a script of lines: start ID [KIND [PARENT]], queue ID, update ID, end ID,
// ts SECONDS ID (an update with that ts), phase NAME, output, input, cpu PERCENT,
// suspend DURATION, wait DURATION.
func (s *scene) play(script string) {
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		word := func(i int) string {
			if i < len(words) {
				return words[i]
			}
			return ""
		}
		number := func(i int) (f float64) {
			_, err := fmt.Sscan(word(i), &f)
			require.NoError(s.t, err, line)
			return f
		}
		span := func(kind telemetry.Type) {
			s.apply(telemetry.Event{Type: kind, SpanID: words[1], Kind: word(2), Parent: word(3), Source: telemetry.SourceSocket})
		}
		switch words[0] {
		case "start":
			span(telemetry.SpanStart)
		case "queue":
			span(telemetry.SpanQueued)
		case "update":
			span(telemetry.SpanUpdate)
		case "end":
			span(telemetry.SpanEnd)
		case "ts":
			s.apply(telemetry.Event{Type: telemetry.SpanUpdate, SpanID: words[2], TS: telemetry.F(number(1)), Source: telemetry.SourceSocket})
		case "phase":
			s.apply(telemetry.Event{Type: telemetry.Phase, Name: words[1], Source: telemetry.SourceSocket})
		case "output":
			s.terminal.output = s.now
		case "input":
			s.terminal.input = s.now
		case "cpu":
			s.cpu = number(1) / 100
		case "wait", "suspend":
			d, err := time.ParseDuration(words[1])
			require.NoError(s.t, err)
			if words[0] == "wait" {
				s.wait(d)
			} else {
				s.now += d
				s.judge.restart(s.now)
			}
		default:
			require.Fail(s.t, "unknown word", line)
		}
	}
}

// heartbeat is a script that tells of a span every so often.
func heartbeat(line string, every, times int) string {
	return strings.Repeat(fmt.Sprintf("%s\nwait %ds\n", line, every), times)
}

// ended is a script of a span that reported n times.
func ended(id, kind string, n, every int) string {
	return "start " + id + " " + kind + "\n" + heartbeat("update "+id, every, n) + "end " + id + "\n"
}

func TestWatchdogJudge(t *testing.T) {
	cases := []struct {
		name   string
		limits []string
		script string
		want   []string
	}{
		// A limit for all.
		{"L1 silent: flagged once, and the run is not flagged for it too", []string{"60s"},
			"start a agent\nwait 1h", []string{"1m0s stalled a"}},
		{"L1 cleared by activity", []string{"60s"},
			"start a agent\nwait 100s\nupdate a\nwait 59s", []string{"1m0s stalled a", "1m41s resumed a"}},
		{"L1 a second silence is flagged again", []string{"60s"},
			"start a agent\nwait 100s\nupdate a\nwait 65s\nend a\nwait 1s",
			[]string{"1m0s stalled a", "1m41s resumed a", "2m40s stalled a", "2m46s resumed a"}},
		{"just below the limit", []string{"60s"}, "start a agent\nwait 59s\nupdate a\nwait 59s\nend a", nil},
		{"L2 heartbeats with a ts ten hours back", []string{"60s"},
			"start a agent\n" + heartbeat("ts 999964000 a", 30, 20), nil},
		{"L2 heartbeats with a ts in milliseconds", []string{"60s"},
			"start a agent\n" + heartbeat("ts 1000000000000 a", 30, 20), nil},
		{"L3 a ts ten hours ahead covers nothing", []string{"60s"},
			"start a agent\nts 1000036000 a\nwait 61s", []string{"1m0s stalled a"}},
		{"L4 ended and queued", []string{"60s", "run=0"}, "queue q agent\nstart a agent\nwait 1s\nend a\nwait 1h", nil},
		{"L4 a second attempt is judged from its own start", []string{"60s", "run=0"},
			"start a agent\nend a\nwait 1h\nstart a\nwait 61s", []string{"1h1m0s stalled a"}},
		{"L5 a parent whose child works", []string{"60s"},
			"start a agent\nstart b agent a\n" + heartbeat("update b", 30, 20), nil},
		{"L5 a silent child is flagged, not its parent", []string{"60s"},
			"start a agent\nstart b tool a\nwait 10m", []string{"1m0s stalled b"}},
		{"L5 the parent's turn comes when the child has ended", []string{"60s"},
			"start a agent\nstart b tool a\nwait 50s\nend b\nwait 70s", []string{"1m50s stalled a"}},
		{"one of several", []string{"60s"},
			"start a agent\nstart b agent\n" + heartbeat("update b", 20, 6), []string{"1m0s stalled a"}},
		{"a new child of a stalled span", []string{"60s"},
			"start a agent\nwait 61s\nstart b tool a\nwait 1s", []string{"1m0s stalled a", "1m2s resumed a"}},

		// The run itself.
		{"the run", []string{"60s"}, "wait 2m\nphase x\nwait 1s", []string{"1m0s stalled root", "2m1s resumed root"}},
		{"the run by itself: auto", nil, "wait 11m", []string{"10m0s stalled root"}},
		{"the run's own limit", []string{"60s", "run=2m"}, "wait 3m", []string{"2m0s stalled root"}},
		{"the run: output", []string{"60s"}, "wait 50s\noutput\nwait 50s\noutput\nwait 61s", []string{"2m40s stalled root"}},
		{"the run: keys", []string{"60s"}, "wait 50s\ninput\nwait 50s\ninput\nwait 61s", []string{"2m40s stalled root"}},
		{"the run: CPU time", []string{"60s"}, "cpu 5\nwait 10m\ncpu 0\nwait 70s", []string{"11m4s stalled root"}},
		{"the run: too little CPU time", []string{"5m"}, "cpu 0.5\nwait 301s", []string{"5m0s stalled root"}},
		{"the run, again alive without an event", []string{"60s"},
			"wait 70s\noutput\nwait 20s\nwait 60s", []string{"1m0s stalled root", "1m11s resumed root", "2m10s stalled root"}},
		{"the run before a span of a longer limit", nil,
			"start a agent\nwait 31m", []string{"10m0s stalled root", "30m0s stalled a"}},

		// Activity that can only be one span's.
		{"output of the only open span", []string{"60s"},
			"start a agent\n" + heartbeat("output", 50, 6) + "wait 20s", []string{"5m10s stalled a"}},
		{"output while two are open", []string{"60s", "run=0"},
			"start a agent\nstart b agent\n" + heartbeat("output", 10, 7), []string{"1m0s stalled a", "1m0s stalled b"}},
		{"output before it was alone", []string{"60s"},
			"start a agent\nstart b agent\nwait 40s\noutput\nwait 1s\nend b\nwait 20s", []string{"1m0s stalled a"}},
		{"output that may be that of a short one", []string{"60s"},
			"start a agent\nwait 58s\nstart b agent\noutput\nend b\nwait 2s", []string{"1m0s stalled a"}},
		{"another one opens after output: it counts still", []string{"60s"},
			"start a agent\nwait 50s\noutput\nwait 20s\nstart b agent\nwait 41s", []string{"1m50s stalled a"}},
		{"CPU time of the only open span", []string{"60s"},
			"start a agent\ncpu 3\nwait 10m\ncpu 0\nwait 70s", []string{"11m4s stalled a"}},
		{"CPU time of nobody in particular", []string{"60s", "run=0"},
			"start a agent\nstart b agent\ncpu 90\nwait 61s", []string{"1m0s stalled a", "1m0s stalled b"}},
		{"CPU time before the last event", []string{"60s"},
			"start a agent\ncpu 90\nwait 30s\nupdate a\ncpu 0\nwait 61s", []string{"1m30s stalled a"}},
		{"keys are not its own", []string{"60s", "run=0"}, "start a agent\n" + heartbeat("input", 10, 7), []string{"1m0s stalled a"}},
		{"output clears", []string{"60s"},
			"start a agent\nwait 70s\noutput\nwait 20s", []string{"1m0s stalled a", "1m11s resumed a"}},
		{"CPU time clears", []string{"60s"},
			"start a agent\nwait 70s\ncpu 50\nwait 20s", []string{"1m0s stalled a", "1m12s resumed a"}},

		// auto.
		{"a kind that reports", nil,
			ended("a", "agent", 3, 5) + ended("b", "agent", 3, 5) + ended("c", "agent", 3, 5) + "start d agent\nwait 121s",
			[]string{"2m45s stalled d"}},
		{"... with long silences", nil,
			ended("a", "agent", 3, 50) + ended("b", "agent", 3, 50) + ended("c", "agent", 3, 50) + "start d agent\nwait 201s",
			[]string{"10m50s stalled d"}},
		{"... before three ended", nil,
			ended("a", "agent", 3, 5) + "start d agent\nwait 301s", []string{"5m15s stalled d"}},
		{"a kind that does not report", []string{"auto", "run=0"}, "start a agent\nwait 31m", []string{"30m0s stalled a"}},
		{"... is left alone as long as it speaks", []string{"auto", "run=0"},
			"start a agent\nwait 29m\nupdate a\nwait 119s\nwait 1s", []string{"31m0s stalled a"}},
		{"... and as long as there is output", []string{"auto", "run=0"},
			"start a agent\n" + heartbeat("output", 60, 40) + "wait 65s", []string{"41m0s stalled a"}},
		{"... and flagged again only after another such time", []string{"auto", "run=0"},
			"start a agent\nwait 31m\nupdate a\nwait 29m\nwait 61s",
			[]string{"30m0s stalled a", "31m1s resumed a", "1h1m0s stalled a"}},
		{"one kind's limit beside auto", []string{"agent=30s"},
			"start a agent\nstart b tool\nwait 40s", []string{"30s stalled a"}},
		{"a kind that is never flagged", []string{"30s", "agent=0", "run=0"}, "start a agent\nstart b tool\nwait 40s", []string{"30s stalled b"}},

		// L7: a suspended machine.
		{"L7 time lost counts for nobody", []string{"60s"},
			"start a agent\nstart b agent\nwait 30s\nsuspend 8h\nwait 59s\nupdate a\nupdate b", nil},
		{"L7 silence is counted again from there", []string{"60s"},
			"start a agent\nwait 50s\nsuspend 1h\nwait 61s", []string{"1h1m50s stalled a"}},
		{"L7 a silence that was flagged stays", []string{"60s"},
			"start a agent\nwait 61s\nsuspend 1h\nwait 1s\nupdate a\nwait 1s", []string{"1m0s stalled a", "1h1m3s resumed a"}},

		// L9: extreme limits.
		{"L9 off", []string{"0"}, "start a agent\nwait 24h", nil},
		{"L9 a nanosecond", []string{"1ns"}, "start a agent\nwait 1s\nupdate a\nwait 2s",
			[]string{"1s stalled a", "2s resumed a", "2s stalled a"}},
		{"L9 300 hours", []string{"300h"}, "start a agent\nwait 299h", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, c.limits...)
			s.play(c.script)
			assert.Equal(t, c.want, s.told)

			crowded := newScene(t, c.limits...)
			crowded.crowd = true
			crowded.play(c.script)
			assert.Equal(t, c.want, crowded.told, "with processes that come and go")
		})
	}
}

func TestWatchdogJudgeEvidence(t *testing.T) {
	evidence := func(s *scene) (e Evidence) {
		t.Helper()
		require.NotEmpty(t, s.events)
		require.NoError(t, json.Unmarshal(s.events[0].Evidence, &e))
		return e
	}
	p := func(ms int64) *int64 { return &ms }
	two, percent := 2, 0.5
	base := Evidence{
		Rule: "silent", LimitMS: 100_000, RunningMS: 100_000, Last: "span_start", LastMS: 0,
		OutputAgeMS: p(100_000), CPUMS: p(375), CPUPercent: &percent, CPUWindowMS: p(75_000), Processes: &two, PID: 4711, Command: "sh",
	}
	with := func(change func(*Evidence)) Evidence {
		e := base
		change(&e)
		return e
	}
	cases := []struct {
		name   string
		limits []string
		script string
		want   Evidence
	}{
		{"an agent", nil, "start a agent\ncpu 0.5\nwait 100s", base},
		{"that was heard of", nil, "start a agent\nwait 10s\nupdate a\ncpu 0.5\nwait 100s", with(func(e *Evidence) {
			e.Last, e.LastMS, e.RunningMS, e.OutputAgeMS = "span_update", 10_000, 110_000, p(110_000)
		})},
		{"an LLM request below an agent", nil, "start a agent\nstart l llm a\ncpu 0.5\nwait 100s",
			with(func(e *Evidence) { e.Open, e.LLMOpenMS = "llm l", 100_000 })},
		{"an LLM request of no agent", []string{"llm=0"}, "start a agent\nwait 1s\nstart l llm\nupdate a\ncpu 0.5\nwait 100s",
			with(func(e *Evidence) {
				e.LLMOpenMS, e.Last, e.LastMS, e.RunningMS, e.OutputAgeMS = 100_000, "span_update", 1000, 101_000, p(101_000)
			})},
		{"the run", []string{"llm=0"}, "start a agent\nstart l llm a\nwait 10s\noutput\ncpu 0.5\nwait 100s", with(func(e *Evidence) {
			e.Open, e.LLMOpenMS, e.RunningMS, e.InputAgeMS, e.LastSpan = "", 110_000, 110_000, p(110_000), "l"
		})},
		{"a quiet kind", []string{"agent=auto", "run=0"}, "start a agent\ncpu 0.5\nwait 30m", with(func(e *Evidence) {
			e.Rule, e.LimitMS, e.RunningMS, e.OutputAgeMS = "long", 1_800_000, 1_800_000, p(1_800_000)
			e.CPUWindowMS, e.CPUMS = p(1_350_000), p(6750)
		})},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, append([]string{"100s"}, c.limits...)...)
			s.play(c.script)
			assert.Equal(t, c.want, evidence(s))
			assert.Equal(t, telemetry.SourceObsrun, s.events[0].Source)
		})
	}

	t.Run("L8 states", func(t *testing.T) {
		s := newScene(t, "60s")
		for i := range 12 {
			s.odd = append(s.odd, oddProcess{i, "node", stopped})
		}
		s.odd = append(s.odd, oddProcess{20, "dd", blocked}, oddProcess{21, "sh", zombie})
		s.play("start a agent\nwait 60s")
		e := evidence(s)
		assert.Len(t, e.Stopped, 10)
		assert.Equal(t, "0 node", e.Stopped[0])
		assert.Equal(t, []string{"20 dd"}, e.Blocked)
		assert.Equal(t, []string{"21 sh"}, e.Zombies)
	})
	t.Run("nothing is known", func(t *testing.T) {
		s := newScene(t, "60s")
		s.play("start a agent")
		s.now = time.Minute
		events, _ := s.judge.look(s.now, func(f func(*run.State)) { f(s.state) }, signs{unknown, unknown}, nil)
		require.Len(t, events, 1)
		assert.JSONEq(t, `{"rule":"silent","limit_ms":60000,"running_ms":60000,"last":"span_start","last_ms":0}`, string(events[0].Evidence))
	})
	t.Run("the last message is clipped", func(t *testing.T) {
		s := newScene(t, "60s")
		s.play("start a agent")
		s.apply(telemetry.Event{Type: telemetry.SpanUpdate, SpanID: "a", Message: strings.Repeat("ä", 500)})
		s.wait(time.Minute)
		assert.Equal(t, strings.Repeat("ä", 200)+"…", evidence(s).LastMessage)
	})
}

// The two idle times are of the same silence.
func TestWatchdogJudgeIdle(t *testing.T) {
	s := newScene(t, "60s")
	s.play("wait 10s\nstart a agent\nwait 65s\nupdate a\nwait 5s")
	require.Len(t, s.events, 2)
	assert.Equal(t, telemetry.F(60_000), s.events[0].IdleMS)
	assert.Equal(t, telemetry.F(65_000), s.events[1].IdleMS)
	assert.Empty(t, s.events[1].Evidence)
}

// A run whose spans report asks nothing of the processes.
func TestWatchdogJudgeAsksOnlyInSilence(t *testing.T) {
	s := newScene(t, "60s")
	s.play("start a agent\nstart b agent\n" + heartbeat("update a\nupdate b", 10, 100))
	assert.Zero(t, s.samples)
	s.play("wait 40s")
	assert.NotZero(t, s.samples)
	assert.Empty(t, s.told)
}

// What could not be recorded is told again.
func TestWatchdogJudgeForgets(t *testing.T) {
	s := newScene(t, "60s")
	s.play("start a agent\nwait 60s")
	s.judge.forget("a")
	s.play("wait 2s")
	assert.Equal(t, []string{"1m0s stalled a", "1m1s stalled a"}, s.told)
}

// A long run keeps no more than it needs.
func TestWatchdogJudgeIsBounded(t *testing.T) {
	s := newScene(t, "60s", "run=0")
	for i := range 2000 {
		s.play(fmt.Sprintf("start s%d agent\nwait 30s\noutput\nwait 65s\nend s%[1]d\nwait 1s", i))
	}
	assert.Len(t, s.told, 2*2000)
	assert.Empty(t, s.judge.silences)
	assert.LessOrEqual(t, len(s.judge.marks), 2)
	assert.LessOrEqual(t, len(s.judge.cpu.looks), maxLooks)
}

func TestWatchdogCPUUse(t *testing.T) {
	const s = time.Second
	var u cpuUse
	used, window := u.since(0)
	assert.Zero(t, used+window)
	u.add(10*s, 5*s)
	u.add(20*s, 5*s+90*time.Millisecond) // 0.9 %
	assert.Zero(t, u.busyTo)
	u.add(30*s, 5*s+200*time.Millisecond) // 1.1 %
	assert.Equal(t, []time.Duration{20 * s, 30 * s}, []time.Duration{u.busyFrom, u.busyTo})
	u.add(31*s, 5*s+210*time.Millisecond) // one unit only
	assert.Equal(t, 30*s, u.busyTo)
	used, window = u.since(15 * s)
	assert.Equal(t, []time.Duration{120 * time.Millisecond, 11 * s}, []time.Duration{used, window})
	used, window = u.since(32 * s)
	assert.Zero(t, used+window)
}

// What the watchdog costs with 10,000 open spans: a tick, and a survey, of which there
// is one every 10 s.
func BenchmarkWatchdogJudge(b *testing.B) {
	scene := func(b *testing.B) *scene {
		s := newScene(b)
		for i := range 10_000 {
			s.apply(telemetry.Event{Type: telemetry.SpanStart, SpanID: fmt.Sprint("s", i), Kind: "agent", Source: telemetry.SourceSocket})
		}
		s.look()
		return s
	}
	b.Run("tick", func(b *testing.B) {
		s := scene(b)
		s.now += time.Second
		for b.Loop() {
			s.look()
		}
	})
	b.Run("survey", func(b *testing.B) {
		s := scene(b)
		for b.Loop() {
			s.judge.next = 0
			s.look()
		}
	})
}
