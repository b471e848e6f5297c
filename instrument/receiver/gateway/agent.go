package gateway

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

const (
	// lookFor is how long another source is given to tell of an agent before the
	// gateway makes one itself: its log may be read a moment later than the call
	// comes.
	lookFor   = 500 * time.Millisecond
	lookEvery = 50 * time.Millisecond
	// quiet is how long nothing has to follow an answer that asks for no tool until
	// the agent is taken to be done.
	quiet = 5 * time.Second
	// patience is the same for a call that failed: clients wait and try again.
	patience = 30 * time.Second
	// lingers is how long calls of a conversation stay with an agent of another
	// source that has ended.
	lingers = 5 * time.Second
)

// agent is a conversation.
type agent struct {
	user      string // hash of its first user message
	name      string
	component string // the name, if a pattern found it
	parent    string // span

	// Where its calls hang: below the agent that another source has told of, or
	// below a span of its own. Neither while that is not decided.
	foreign     string
	foreignSeen time.Time
	span        string
	ended       bool // the span of its own
	undecided   []*entry

	first, last time.Time
	open        int   // calls
	tools       int64 // that were asked for in this attempt
	// How the last call ended.
	status, fault string
	goesOn        bool // it asked for tools
	wait          time.Duration
}

// agentOf finds the agent that makes a call, or meets a new one. Nil where the
// call does not tell.
func (l *ledger) agentOf(a asked) *agent {
	q := a.question
	var exact, user string
	if q != nil && a.endpoint.conversation {
		exact, user = q.keys()
	}
	parent := ""
	switch {
	case a.who.agent != "":
		exact, parent = hashed("agent", a.who.agent), hashed("session", a.who.session)
		if a.who.parent != "" {
			parent = hashed("agent", a.who.parent)
		}
	case a.who.session != "" && a.endpoint.conversation:
		exact = hashed("session", a.who.session)
	case q == nil:
		return nil
	case q.previous != "" && l.responses[q.previous] != nil:
		return l.responses[q.previous]
	case q.thread != "":
		exact = hashed("thread", q.thread)
	case exact == "":
		return nil
	default:
		// A system prompt that holds the time changes from call to call. A history
		// that holds answers belongs to an agent that is known, if only one can be
		// meant.
		if l.agents[exact] == nil && q.answered {
			if open := l.openByUser(user); open != nil {
				return open
			}
		}
	}
	if known := l.agents[exact]; known != nil {
		return known
	}
	if len(l.agents) >= maxAgents {
		l.forget()
		if len(l.agents) >= maxAgents {
			return nil
		}
	}
	met := &agent{user: user, first: a.at, last: a.at}
	if q != nil {
		met.component = nameIn(q.nameText, l.patterns)
	}
	met.name = met.component
	if met.name == "" {
		met.name = "agent-" + hex.EncodeToString([]byte(exact))[:6]
	}
	if above := l.agents[parent]; above != nil {
		met.parent = above.below()
	}
	l.agents[exact] = met
	if user != "" {
		l.byUser[user] = append(l.byUser[user], met)
	}
	return met
}

func (l *ledger) openByUser(user string) *agent {
	var found *agent
	for _, a := range l.byUser[user] {
		if a.ended {
			continue
		}
		if found != nil {
			return nil
		}
		found = a
	}
	return found
}

// forget drops the agents that have ended.
func (l *ledger) forget() {
	for key, a := range l.agents {
		if _, live := l.live[a]; live || a.open > 0 {
			continue
		}
		delete(l.agents, key)
		l.byUser[a.user] = slices.DeleteFunc(l.byUser[a.user], func(b *agent) bool { return a == b })
		if len(l.byUser[a.user]) == 0 {
			delete(l.byUser, a.user)
		}
	}
	clear(l.responses)
}

// below is the span that the agent's calls hang under, empty while that is not
// decided.
func (a *agent) below() string {
	if a.foreign != "" {
		return a.foreign
	}
	return a.span
}

// place decides where a call of the agent hangs.
func (l *ledger) place(a *agent, at time.Time) string {
	l.live[a] = struct{}{}
	if l.look(a, at) {
		return a.foreign
	}
	if a.foreign != "" {
		if a.open > 0 || at.Sub(a.foreignSeen) < lingers {
			return a.foreign
		}
		a.foreign, a.first = "", at // its agent has ended: this is another one
	}
	switch {
	case a.span != "" && a.ended: // it goes on after all
		a.first, a.tools = at, 0
		l.make(a)
	case a.span != "":
	case l.openAgent == nil || a.component == "":
		a.first = at
		l.make(a)
	}
	return a.below()
}

// look asks whether another source tells of the agent.
func (l *ledger) look(a *agent, at time.Time) bool {
	if l.openAgent == nil || a.component == "" {
		return false
	}
	span, ok := l.openAgent(a.component)
	if !ok || span == "" || span == a.span {
		return false
	}
	a.foreignSeen = at
	if a.foreign == span {
		return true
	}
	a.foreign = span
	if a.span != "" {
		// The other source was late: what was taken for an agent is a part of one.
		event := telemetry.Event{Type: telemetry.SpanUpdate, SpanID: a.span, Parent: span, Kind: telemetry.KindTask}
		l.send(event, at)
		if !a.ended {
			l.send(telemetry.Event{Type: telemetry.SpanEnd, SpanID: a.span, Status: telemetry.StatusOK}, a.last)
		}
		a.span, a.ended = "", false
	}
	l.settle(a)
	return true
}

// settle tells the calls that waited for it where they belong.
func (l *ledger) settle(a *agent) {
	for _, e := range a.undecided {
		e.parent = a.below()
		l.send(telemetry.Event{Type: telemetry.SpanUpdate, SpanID: e.span, Parent: e.parent}, a.last)
	}
	a.undecided = nil
}

// make gives the agent a span of its own, or another attempt of it.
func (l *ledger) make(a *agent) {
	if a.span == "" {
		a.span = newSpanID()
	}
	a.ended = false
	l.send(telemetry.Event{
		Type: telemetry.SpanStart, SpanID: a.span, Parent: a.parent, Kind: "agent", Name: a.name, Component: a.component,
	}, a.first)
	l.settle(a)
}

// begin notes a call of the agent.
func (a *agent) begin(e *entry, at time.Time) {
	a.open++
	a.last, a.status, a.fault, a.goesOn = at, "", "", false
	if e.parent == "" {
		a.undecided = append(a.undecided, e)
	}
}

// concluded notes how a call of the agent ended.
func (l *ledger) concluded(a *agent, d *done, status, fault string) {
	a.open--
	a.last, a.status, a.fault = d.at, status, fault
	a.goesOn = status == telemetry.StatusOK && (d.reply.clientCalls > 0 || d.reply.finish == "pause_turn")
	a.wait = d.retryAfter
	a.tools += d.reply.toolCalls
	if id := d.reply.id; id != "" && status == telemetry.StatusOK {
		if len(l.responses) >= maxCallIDs {
			clear(l.responses)
		}
		l.responses[id] = a
	}
	l.live[a] = struct{}{}
}

// decide does what time brings, and tells how long nothing more will come.
func (l *ledger) decide(now time.Time) time.Duration {
	next := time.Hour
	for a := range l.live {
		if len(a.undecided) > 0 && !l.look(a, now) {
			if now.Sub(a.first) >= lookFor {
				l.make(a)
			} else {
				next = min(next, lookEvery)
			}
		}
		if a.open > 0 || len(a.undecided) > 0 {
			continue
		}
		if a.span == "" || a.ended { // its end is another's to tell
			delete(l.live, a)
			continue
		}
		if a.goesOn {
			continue
		}
		until := quiet
		if a.status != telemetry.StatusOK {
			until = patience + a.wait
		}
		if rest := until - now.Sub(a.last); rest > 0 {
			next = min(next, rest)
			continue
		}
		l.conclude(a, false)
	}
	return next
}

// conclude ends the agent's own span: with its last call, and as that ended.
func (l *ledger) conclude(a *agent, inferred bool) {
	event := telemetry.Event{Type: telemetry.SpanEnd, SpanID: a.span, Status: a.status, Error: a.fault}
	if event.Status == "" {
		event.Status = telemetry.StatusCancelled
	}
	if a.tools > 0 {
		event.ToolUses = telemetry.N(a.tools)
	}
	if inferred {
		event.Attrs = telemetry.Attrs(map[string]bool{"inferred_end": true})
	}
	a.ended = true
	l.send(event, a.last)
	delete(l.live, a)
}

// leave ends an agent because the gateway ends.
func (l *ledger) leave(a *agent, now time.Time) {
	if len(a.undecided) > 0 && !l.look(a, now) {
		l.make(a)
	}
	if a.span != "" && !a.ended {
		l.conclude(a, a.goesOn || a.open > 0)
	}
	delete(l.live, a)
}
