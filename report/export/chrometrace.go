package export

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

// ChromeTrace writes the run in the Trace Event Format, a JSON object with
// traceEvents, which Perfetto and chrome://tracing open
// (https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU).
//
// The run and each of its phases is a process, each agent a thread of its phase's.
// A span is a complete event (X) on the thread of the nearest agent above; where it
// would overlap what is drawn there it gets a further thread, since events of one
// thread must nest. Spans that no agent did, and processes, have threads of their
// own. Earlier attempts are events too. Other events: flows (s, f) from a span to
// those below it that stand on other threads, but for what hangs under the run
// itself; counters (C) of the tokens used so far and of the agents at work;
// instants (i) where a span was flagged as silent, where one failed or was lost, and
// for warnings. Times are microseconds since the first of them, events are in order
// of time. What never began is left out, as is a span for which another one stands.
// A span that is still open ends at the latest moment that is known of the run.
func ChromeTrace(w io.Writer, r Run) error {
	c := newChart(r.State)
	events := append(c.metadata(), c.timed()...)
	info := r.State.Info()
	other, err := compactJSON(map[string]any{
		"run_id": info.RunID, "status": info.Status, "command": info.Command, "source_repo": info.SourceRepo,
		"source_commit": info.SourceCommit, "started_ms": c.base, "obsrun_version": r.Version,
	})
	if err != nil {
		return fmt.Errorf("write Chrome trace: %w", err)
	}
	out := bufio.NewWriter(w) // keeps the first error
	fmt.Fprintf(out, `{"displayTimeUnit":"ms","otherData":%s,"traceEvents":[`, other)
	for i := range events {
		line, err := compactJSON(events[i])
		if err != nil {
			return fmt.Errorf("write Chrome trace: %w", err)
		}
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
		out.Write(line)
	}
	out.WriteString("\n]}\n")
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write Chrome trace: %w", err)
	}
	return nil
}

// traceEvent is an event of the format.
type traceEvent struct {
	Name  string         `json:"name"`
	Cat   string         `json:"cat,omitempty"`
	Phase string         `json:"ph"`
	TS    int64          `json:"ts"` // microseconds
	Dur   *int64         `json:"dur,omitempty"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	ID    int            `json:"id,omitempty"` // of a flow
	Bind  string         `json:"bp,omitempty"` // "e": a flow ends at the event around it
	Scope string         `json:"s,omitempty"`  // of an instant: t, its thread; p, its process
	Args  map[string]any `json:"args,omitempty"`
}

// metadata names the processes and threads, and puts them in order.
func (c *chart) metadata() []traceEvent {
	var events []traceEvent
	add := func(pid, tid int, what, key string, value any) {
		events = append(events, traceEvent{Name: what, Phase: "M", PID: pid, TID: tid, Args: map[string]any{key: value}})
	}
	for i, process := range c.processes {
		add(i+1, 0, "process_name", "name", name(process))
		add(i+1, 0, "process_sort_index", "sort_index", i)
	}
	for _, t := range c.threads {
		add(t.pid, t.tid, "thread_name", "name", t.name)
		add(t.pid, t.tid, "thread_sort_index", "sort_index", t.tid)
	}
	return events
}

// timed gives all other events, by time; at the same time what contains the others
// first.
func (c *chart) timed() []traceEvent {
	events := c.slices()
	events = append(events, c.flows()...)
	events = append(events, c.instants()...)
	events = append(events, c.counters()...)
	length := func(e *traceEvent) int64 {
		if e.Dur == nil {
			return -1
		}
		return *e.Dur
	}
	slices.SortStableFunc(events, func(a, b traceEvent) int {
		return cmp.Or(cmp.Compare(a.TS, b.TS), cmp.Compare(length(&b), length(&a)))
	})
	return events
}

// us is a time of the state on the trace's axis.
func (c *chart) us(ms int64) int64 { return max(0, ms-c.base) * 1000 }

func (c *chart) slices() []traceEvent {
	events := make([]traceEvent, 0, len(c.bars))
	for i := range c.bars {
		b := &c.bars[i]
		dur := (b.to - b.from) * 1000
		events = append(events, traceEvent{
			Name: name(b.name), Cat: name(b.kind), Phase: "X", TS: c.us(b.from), Dur: &dur, PID: b.at.pid, TID: b.at.tid, Args: b.args,
		})
	}
	return events
}

// flows draws the parent links that lead from one thread to another.
func (c *chart) flows() []traceEvent {
	var events []traceEvent
	for i := range c.bars {
		child := &c.bars[i]
		if child.parent == "" || child.parent == c.root {
			continue
		}
		parent := c.barOf(child.parent, child.from)
		if parent == nil || parent.at == child.at {
			continue
		}
		// It must lie within the parent, the end of which does not belong to it.
		from := max(c.us(parent.from), min(c.us(child.from), c.us(parent.to)-1))
		id := len(events)/2 + 1
		events = append(events,
			traceEvent{Name: "parent", Cat: "parent", Phase: "s", TS: from, PID: parent.at.pid, TID: parent.at.tid, ID: id},
			traceEvent{Name: "parent", Cat: "parent", Phase: "f", TS: c.us(child.from), PID: child.at.pid, TID: child.at.tid, ID: id, Bind: "e"})
	}
	return events
}

func (c *chart) instants() []traceEvent {
	var events []traceEvent
	add := func(at *thread, scope, name, kind string, ms int64, args map[string]any) {
		events = append(events, traceEvent{Name: name, Cat: kind, Phase: "i", TS: c.us(ms), PID: at.pid, TID: at.tid, Scope: scope, Args: args})
	}
	for _, stall := range c.state.Stalls() {
		args := map[string]any{"span_id": stall.SpanID, "idle_ms": stall.IdleMS, "open": stall.Open}
		if len(stall.Evidence) > 0 {
			args["evidence"] = stall.Evidence
		}
		at := c.threadOf(cmp.Or(stall.Agent, stall.SpanID))
		add(at, "t", name("stalled: "+stall.Name), "stall", stall.TimeMS, args)
		if stall.ResumedMS != 0 {
			add(at, "t", name("resumed: "+stall.Name), "stall", stall.ResumedMS, map[string]any{"span_id": stall.SpanID})
		}
	}
	for i := range c.bars {
		b := &c.bars[i]
		if b.state == run.Failed || b.state == run.Lost {
			add(b.at, "t", name(b.state+": "+b.name), "error", b.to, map[string]any{"span_id": b.id, "error": report.Visible(b.err)})
		}
	}
	for _, entry := range c.state.Logs() {
		add(c.threads[0], "p", name(entry.Level+": "+entry.Message), "log", entry.TimeMS, map[string]any{"message": report.Visible(entry.Message)})
	}
	return events
}

// counters are the tokens used by the run so far, and the agents at work.
func (c *chart) counters() []traceEvent {
	var events []traceEvent
	add := func(name string, ms, n int64) {
		events = append(events, traceEvent{Name: name, Phase: "C", TS: c.us(ms), PID: 1, Args: map[string]any{name: n}})
	}
	burn, used := c.state.Burn(0), int64(0)
	add("tokens", c.base, 0)
	for i, n := range burn.Totals {
		// A second that has begun counts whole there.
		if at := burn.StartMS + int64(i)*burn.StepMS + 1000; at < c.end {
			used = max(used, n)
			add("tokens", at, used)
		}
	}
	add("tokens", c.end, max(used, c.state.Totals().Tokens))

	type edge struct{ at, delta int64 }
	edges := []edge{{c.base, 0}}
	for i := range c.bars {
		if b := &c.bars[i]; b.isAgent {
			edges = append(edges, edge{b.from, 1}, edge{b.to, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	atWork := int64(0)
	for i, e := range edges {
		atWork += e.delta
		if i+1 == len(edges) || edges[i+1].at != e.at {
			add("agents at work", e.at, atWork)
		}
	}
	return events
}

// args are what a person finds out about a span by selecting it.
func args(v *run.Span) map[string]any {
	out := map[string]any{"span_id": v.ID, "kind": v.Kind, "state": v.State}
	for key, text := range map[string]string{
		"component": v.Component, "phase": v.Phase, "source": v.Source, "error": v.Error, "message": v.Message,
	} {
		if text != "" {
			out[key] = report.Visible(text)
		}
	}
	for key, n := range map[string]int64{
		"tokens": v.Tokens, "input_tokens": v.Input, "output_tokens": v.Output, "cached_tokens": v.Cached, "tool_uses": v.ToolUses,
	} {
		if n != 0 {
			out[key] = n
		}
	}
	if cost := finite(v.CostUSD); cost != 0 {
		out["cost_usd"] = cost
	}
	if v.Attempts > 1 {
		out["attempts"] = v.Attempts
	}
	if json.Valid(v.Attrs) {
		out["attrs"] = v.Attrs
	}
	return out
}
