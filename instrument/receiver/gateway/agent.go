package gateway

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

const (
	// lookEvery is how soon what a call brought is decided on.
	lookEvery = 50 * time.Millisecond
	// quiet is how long nothing has to follow an answer that asks for no tool until
	// the agent is taken to be done.
	quiet = 5 * time.Second
	// patience is the same for a call that failed: clients wait and try again.
	patience = 30 * time.Second
)

// agent is a conversation.
type agent struct {
	user      string // hash of its first user message
	name      string
	component string // the name, if a pattern found it
	parent    string // span

	span  string // empty before its first call
	ended bool

	last  time.Time
	open  int   // calls
	tools int64 // that were asked for in this attempt
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
	met := &agent{user: user, last: a.at}
	if q != nil {
		met.component = nameIn(q.nameText, l.patterns)
	}
	met.name = met.component
	if met.name == "" {
		met.name = "agent-" + hex.EncodeToString([]byte(exact))[:6]
	}
	if above := l.agents[parent]; above != nil {
		met.parent = above.span
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

// place gives the span that a call of the agent hangs under. Whether another
// source told of the same agent is not asked here: who folds the events sees it.
func (l *ledger) place(a *agent, at time.Time, q *question) string {
	l.live[a] = struct{}{}
	again := a.span != "" && a.ended
	if again && q != nil && !q.answered {
		a.span = "" // the conversation begins anew: it is another agent that is asked the same
	}
	if a.span == "" || again {
		a.tools = 0
		l.make(a, at)
	}
	return a.span
}

// make gives the agent a span, or another attempt of it.
func (l *ledger) make(a *agent, at time.Time) {
	if a.span == "" {
		a.span = newSpanID()
	}
	a.ended = false
	l.send(telemetry.Event{
		Type: telemetry.SpanStart, SpanID: a.span, Parent: a.parent, Kind: "agent", Name: a.name, Component: a.component,
	}, at)
}

// begin notes a call of the agent.
func (a *agent) begin(at time.Time) {
	a.open++
	a.last, a.status, a.fault, a.goesOn = at, "", "", false
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
	l.tellBegun()
	next := time.Hour
	for a := range l.live {
		if a.open > 0 {
			continue
		}
		if a.ended {
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
func (l *ledger) leave(a *agent) {
	if !a.ended {
		l.conclude(a, a.goesOn || a.open > 0)
	}
	delete(l.live, a)
}
