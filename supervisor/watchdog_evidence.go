package supervisor

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Evidence is what obsrun saw when it flagged a span: the object "evidence" of a
// span_stalled. All times are in milliseconds. What is not known is left out: nothing
// is told of processes on a system that does not show them, nothing of output where
// there is no pseudo-terminal.
type Evidence struct {
	// Rule is "silent": no event for longer than LimitMS. Or it is "long": its kind is
	// one that does not report, and it has been running for longer than LimitMS.
	Rule    string `json:"rule"`
	LimitMS int64  `json:"limit_ms"`
	// RunningMS is how long the span has been running.
	RunningMS int64 `json:"running_ms"`
	// Open is the kind and name of the span where it is no agent itself: what the
	// agent above it waits for.
	Open string `json:"open,omitempty"`
	// Last is the event that was heard last, LastSpan its span where that is one below.
	// LastMS is when it arrived, since the run's start, and LastMessage the span's last
	// message.
	Last        string `json:"last"`
	LastSpan    string `json:"last_span,omitempty"`
	LastMS      int64  `json:"last_ms"`
	LastMessage string `json:"last_message,omitempty"`
	// LLMOpenMS is how long the oldest LLM request is open that can be the span's: it
	// is one itself, or it is the run, or the request is known to belong to no agent.
	LLMOpenMS int64 `json:"llm_open_ms,omitempty"`
	// OutputAgeMS is how long ago the terminal last showed something, since COMMAND's
	// start if it never did; InputAgeMS, for the run, the same of keys.
	OutputAgeMS *int64 `json:"output_age_ms,omitempty"`
	InputAgeMS  *int64 `json:"input_age_ms,omitempty"`
	// CPUMS is the CPU time that all processes of the run used in the last CPUWindowMS,
	// CPUPercent the same as part of one core. The window starts at the first look at
	// the processes since the span was last heard of.
	CPUMS       *int64   `json:"cpu_ms,omitempty"`
	CPUPercent  *float64 `json:"cpu_percent,omitempty"`
	CPUWindowMS *int64   `json:"cpu_window_ms,omitempty"`
	// Processes counts the live processes of the run. PID and Command are COMMAND's;
	// Command is the kernel's name for it, absent when it has ended.
	Processes *int   `json:"processes,omitempty"`
	PID       int    `json:"pid,omitempty"`
	Command   string `json:"command,omitempty"`
	// Stopped, Blocked and Zombies name processes, "4711 node", at most 10 each:
	// stopped by a signal or a debugger; blocked in the kernel at two looks; ended, but
	// not waited for.
	Stopped []string `json:"stopped,omitempty"`
	Blocked []string `json:"blocked,omitempty"`
	Zombies []string `json:"zombies,omitempty"`
}

const (
	maxNamed   = 10  // processes of a kind
	maxMessage = 200 // characters of LastMessage and Open
)

// evidence puts together what is known of a suspect.
func (j *judge) evidence(now time.Duration, c *candidate, terminal signs) Evidence {
	e := Evidence{
		Rule: "silent", LimitMS: c.silence.Milliseconds(), RunningMS: (now - millis(c.StartedMS)).Milliseconds(),
		Last: c.LastEvent, LastMS: c.HeardMS, LastMessage: clip(c.message),
		OutputAgeMS: age(now, terminal.output),
	}
	if c.age > 0 {
		e.Rule, e.LimitMS = "long", c.age.Milliseconds()
	}
	if c.LastSpan != c.SpanID {
		e.LastSpan = clip(c.LastSpan)
	}
	if !c.root && !telemetry.IsAgent(c.Kind) {
		kind := c.Kind
		if kind == "" {
			kind = telemetry.KindTask
		}
		e.Open = clip(kind + " " + c.Name)
	}
	llm := j.llm.unowned
	switch {
	case c.OpenLLM:
		llm = c.StartedMS
	case c.root:
		llm = j.llm.any
		e.InputAgeMS = age(now, terminal.input)
	}
	if llm != noRequest {
		e.LLMOpenMS = (now - millis(llm)).Milliseconds()
	}
	if !j.counted {
		return e
	}
	if used, window := j.cpu.since(millis(c.HeardMS)); window > 0 {
		ms, of := used.Milliseconds(), window.Milliseconds()
		percent := math.Round(1000*float64(used)/float64(window)) / 10
		e.CPUMS, e.CPUWindowMS, e.CPUPercent = &ms, &of, &percent
	}
	e.Processes, e.PID, e.Command = &j.count.live, j.count.root, j.count.command
	for _, p := range j.count.odd {
		list := &e.Stopped
		switch p.state {
		case blocked:
			list = &e.Blocked
		case zombie:
			list = &e.Zombies
		}
		if len(*list) < maxNamed {
			*list = append(*list, fmt.Sprintf("%d %s", p.pid, p.name))
		}
	}
	return e
}

// age is how long ago something was, nil if that is not known.
func age(now, then time.Duration) *int64 {
	if then == unknown {
		return nil
	}
	ms := max(0, now-then).Milliseconds()
	return &ms
}

func clip(text string) string {
	text = strings.TrimSpace(text)
	n := 0
	for i := range text {
		if n++; n > maxMessage {
			return text[:i] + "…"
		}
	}
	return text
}

// cpuUse remembers how much CPU time the processes of the run had used at each look.
type cpuUse struct {
	looks []cpuLook
	// The last time between two looks in which more than 1 % of a core was used.
	busyFrom, busyTo time.Duration
}

type cpuLook struct{ at, used time.Duration }

const (
	// maxLooks are some hours at one look every 10 s.
	maxLooks = 4096
	// leastUse is what counts as use even in a short time: two of the units in which
	// CPU time comes.
	leastUse = 20 * time.Millisecond
)

func (u *cpuUse) add(at, used time.Duration) {
	if n := len(u.looks); n > 0 {
		last := u.looks[n-1]
		if more := used - last.used; more > (at-last.at)/100 && more >= leastUse {
			u.busyFrom, u.busyTo = last.at, at
		}
	}
	if len(u.looks) == maxLooks {
		u.looks = append(u.looks[:0], u.looks[maxLooks/2:]...)
	}
	u.looks = append(u.looks, cpuLook{at, used})
}

// restart forgets what was seen before.
func (u *cpuUse) restart() { u.looks = u.looks[:0] }

// since gives the CPU time used between the first look at or after then and the last.
func (u *cpuUse) since(then time.Duration) (used, window time.Duration) {
	for i := range u.looks {
		if u.looks[i].at >= then {
			first, last := u.looks[i], u.looks[len(u.looks)-1]
			return last.used - first.used, last.at - first.at
		}
	}
	return 0, 0
}
