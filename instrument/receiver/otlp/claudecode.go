package otlp

import (
	"maps"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Claude Code, as its page "monitoring-usage" has it for 2.1: an interaction is
// the root of its calls and tools. The calls and tools of a subagent hang, with
// its agent_id, below the tool that started it; the agent has no span of its
// own, so it is made here, between the two. What only log records say (the cost
// of a call, that a subagent ended) goes onto the same spans.

// subagent is one of Claude Code's, made from the spans that name it.
type subagent struct {
	id    string // of its span
	home  string // the span that its own hang under
	last  uint64 // the latest end of a span of it, Unix nanoseconds
	ended bool
	// background: the home ended while the agent went on. Only a log record says
	// when such an agent ends, or the end of the run.
	background bool
}

// prepareClaude notes what the spans of a batch say of one another, before any
// of them is told: a batch has a tool before what ran in it.
func (r *Receiver) prepareClaude(spans []*span) {
	for _, s := range spans {
		if s.row.convention != claudeCode {
			continue
		}
		if s.parent != "" && strings.HasPrefix(s.name, "claude_code.tool.") && s.attrs.isFalse("success") {
			r.mem.failures.set(strings.Clone(s.parent), strings.Clone(s.attrs.first("error")))
		}
		name := s.attrs.first("agent_id")
		if name == "" {
			continue
		}
		agent := r.mem.subagents[name]
		if agent == nil {
			if len(r.mem.subagents) >= maxSubagents {
				continue
			}
			agent = r.meet(name, s)
		}
		agent.last = max(agent.last, s.end)
	}
}

// meet makes the span of a subagent from the first span that names it.
func (r *Receiver) meet(name string, s *span) *subagent {
	agent := &subagent{id: idOf("claude code agent " + name), home: strings.Clone(s.parent), background: r.mem.spans.has("home " + s.parent)}
	r.mem.subagents[strings.Clone(name)] = agent
	r.mem.homes[agent.home] = append(r.mem.homes[agent.home], agent)
	r.emit(telemetry.Event{
		Type: telemetry.SpanStart, Source: telemetry.SourceOTLP, SpanID: agent.id, Parent: s.parent, Kind: kindAgent,
		Name: subagentName(&s.attrs), TS: seconds(s.start),
		Attrs: telemetry.Attrs(map[string]any{"agent_id": cut(name, maxText)}),
	})
	return agent
}

// claudeSpan puts a span where it belongs, and adds what log records said of it.
func (r *Receiver) claudeSpan(s *span) {
	if key := recordKey(&s.attrs); key != "" && (s.kind == telemetry.KindLLM || s.kind == telemetry.KindTool) {
		r.mem.spans.set(key, strings.Clone(s.id))
		if usd, ok := r.mem.costs.get(key); ok && !s.usage.CostUSD.OK {
			s.usage.CostUSD = telemetry.F(usd)
		}
		delete(r.mem.held, key)
	}
	if agent := r.mem.subagents[s.attrs.first("agent_id")]; agent != nil && s.parent == agent.home {
		s.parent = agent.id
	}
}

// subagentName is the agent's type: the last part of a query_source like
// "agent:builtin:Explore".
func subagentName(a *attributes) string {
	source := a.first("agent.name", "subagent_type", "query_source")
	if i := strings.LastIndexByte(source, ':'); i >= 0 {
		source = source[i+1:]
	}
	if source == "" {
		return "subagent"
	}
	return cut(source, maxName)
}

// claudeEnded ends the subagents that lived under a span which ended.
func (r *Receiver) claudeEnded(s *span, at telemetry.Float) {
	if s.kind == telemetry.KindLLM {
		return
	}
	r.mem.spans.set("home "+s.id, "")
	for _, agent := range r.mem.homes[s.id] {
		switch {
		case agent.ended || agent.background:
		case agent.last > s.end:
			agent.background = true
		default:
			r.endSubagent(agent, telemetry.Event{TS: at, Status: telemetry.StatusOK})
		}
	}
}

// endBackground ends, with their last span, the agents of which nobody said so.
// Those whose home never ended were interrupted with it, and stay open.
func (r *Receiver) endBackground() {
	for _, name := range slices.Sorted(maps.Keys(r.mem.subagents)) {
		if agent := r.mem.subagents[name]; agent.background && !agent.ended {
			r.endSubagent(agent, telemetry.Event{TS: seconds(agent.last), Status: telemetry.StatusOK})
		}
	}
}

func (r *Receiver) endSubagent(agent *subagent, e telemetry.Event) {
	agent.ended = true
	e.Type, e.Source, e.SpanID = telemetry.SpanEnd, telemetry.SourceOTLP, agent.id
	r.emit(e)
}

// toolFailure tells why a tool failed: its span has no status, but that of its
// execution has one, and the log record of its result.
func (r *Receiver) toolFailure(s *span) (string, bool) {
	if s.row.convention != claudeCode {
		return "", false
	}
	text, failed := r.mem.failures.get(s.id)
	if key := recordKey(&s.attrs); !failed && key != "" {
		text, failed = r.mem.failures.get(key)
	}
	if !failed && s.attrs.isFalse("success") {
		text, failed = s.attrs.first("error"), true
	}
	if failed && text == "" {
		text = "tool failed"
	}
	return cut(text, maxMessage), failed
}

// recordKey names what both a span and a log record can be about: one call by
// the provider's request id, one use of a tool by its id.
func recordKey(a *attributes) string {
	if id := a.first("request_id"); id != "" && len(id) <= maxCallID {
		return "request " + id
	}
	if id := a.first("tool_use_id"); id != "" && len(id) <= maxCallID {
		return "tool " + id
	}
	return ""
}
