package gateway

import (
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// book records events and folds them.
type book struct {
	mu     sync.Mutex
	events []telemetry.Event
	state  *run.State
}

func newBook() *book { return &book{state: run.NewState()} }

func (b *book) record(e telemetry.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
	b.state.Apply(e)
	return nil
}

func (b *book) spans(kind string) []run.Span {
	b.mu.Lock()
	defer b.mu.Unlock()
	var spans []run.Span
	for s := range b.state.Spans() {
		if s.Kind == kind {
			spans = append(spans, s)
		}
	}
	return spans
}

// lines are the events as they would stand in the journal.
func (b *book) lines() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []byte
	for _, e := range b.events {
		out = append(append(out, e.Line()...), '\n')
	}
	return string(out)
}

// desk is a ledger at work, whose calls are made by hand.
type desk struct {
	*book
	t      *testing.T
	ledger *ledger
}

func newDesk(t *testing.T) *desk {
	d := &desk{book: newBook(), t: t}
	d.ledger = newLedger(Config{Record: d.record})
	go d.ledger.run()
	return d
}

// another records what another source tells of its agent.
func (d *desk) another(event telemetry.Type, component string) {
	_ = d.record(telemetry.Event{Type: event, SpanID: "burr-" + component, Kind: "library-analysis", Component: component,
		Source: telemetry.SourceBurr, TS: telemetry.F(float64(time.Now().UnixMicro()) / 1e6)})
}

// ask begins a call.
func (d *desk) ask(body string, who caller) *call {
	c := &call{began: time.Now()}
	q := ask(chat, body)
	var digest uint64 = 14695981039346656037
	for _, b := range []byte(body) {
		digest = (digest ^ uint64(b)) * 1099511628211
	}
	d.ledger.tell(func(l *ledger) {
		l.asked(asked{call: c, at: c.began, provider: "openai", endpoint: chat, who: who, question: q, digest: digest, whole: true, read: true})
	})
	synctest.Wait()
	return c
}

// tell ends a call.
func (d *desk) answer(c *call, end done) {
	end.call, end.at = c, time.Now()
	d.ledger.tell(func(l *ledger) { l.done(end) })
	synctest.Wait()
}

func (d *desk) close() {
	d.ledger.close()
	synctest.Wait()
}

const (
	firstTurn  = `{"model":"m","messages":[{"role":"system","content":"S"},{"role":"user","content":"Analyze the node component."}]}`
	secondTurn = `{"model":"m","messages":[{"role":"system","content":"S"},{"role":"user","content":"Analyze the node component."},{"role":"assistant","content":null}]}`
	// The same with another time in the system prompt.
	laterTurn = `{"model":"m","messages":[{"role":"system","content":"S 12:00"},{"role":"user","content":"Analyze the node component."},{"role":"assistant","content":null}]}`
	noName    = `{"model":"m","messages":[{"role":"user","content":"canary-prompt text"}]}`
)

func used(in, out, tools int64) reply {
	r := reply{prompt: telemetry.N(in), output: telemetry.N(out), toolCalls: tools, clientCalls: tools, finish: "stop"}
	if tools > 0 {
		r.finish = "tool_calls"
	}
	return r
}

func TestConversationIsAnAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		start := time.Now()
		c := d.ask(firstTurn, caller{})
		require.Len(t, d.spans("llm"), 1, "a call is shown from its start")
		require.Len(t, d.spans("agent"), 1, "... and its agent")
		time.Sleep(time.Second)
		d.answer(c, done{status: 200, reply: used(100, 10, 2)})
		time.Sleep(time.Minute) // its tools run
		assert.Equal(t, run.Running, d.spans("agent")[0].State)
		c = d.ask(secondTurn, caller{})
		time.Sleep(time.Second)
		d.answer(c, done{status: 200, reply: used(200, 20, 1)})
		c = d.ask(laterTurn, caller{})
		d.answer(c, done{status: 200, reply: used(300, 30, 0)})
		ended := time.Now()
		time.Sleep(quiet + time.Second)

		agents, calls := d.spans("agent"), d.spans("llm")
		require.Len(t, agents, 1)
		require.Len(t, calls, 3)
		a := agents[0]
		assert.Equal(t, "node", a.Name)
		assert.Equal(t, "node", a.Component)
		assert.Equal(t, run.Done, a.State)
		assert.EqualValues(t, 660, a.Usage.Tokens)
		assert.EqualValues(t, 3, a.Usage.ToolUses)
		assert.EqualValues(t, ended.Sub(start).Milliseconds(), a.DurationMS, "it ends with its last call, not when that was understood")
		for _, c := range calls {
			assert.Equal(t, a.ID, c.Parent)
			assert.Equal(t, "m", c.Name)
		}
		d.close()
	})
}

// An answer that has begun is told of when it goes on for a moment, with what its head
// said; of one that is over by then the end tells it all.
func TestAnswerThatGoesOn(t *testing.T) {
	for name, long := range map[string]time.Duration{"short": lookEvery / 2, "long": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t)
				c := d.ask(firstTurn, caller{})
				time.Sleep(time.Second)
				d.ledger.tell(func(l *ledger) {
					l.beat(beat{call: c, at: time.Now(), status: 200, requestID: "req-1", ttfb: time.Second, bytes: 10})
				})
				updates := func() (told []telemetry.Event) {
					d.mu.Lock()
					defer d.mu.Unlock()
					for _, e := range d.events {
						if e.Type == telemetry.SpanUpdate {
							told = append(told, e)
						}
					}
					return told
				}
				began := time.Now()
				time.Sleep(long)
				synctest.Wait()
				if long < lookEvery {
					assert.Empty(t, updates())
				} else if told := updates(); assert.Len(t, told, 1) {
					assert.Equal(t, "req-1", told[0].CallID)
					assert.JSONEq(t, `{"status": 200, "ttfb_ms": 1000}`, string(told[0].Attrs))
					assert.Equal(t, float64(began.UnixMicro())/1e6, told[0].TS.F, "when it was, not when it was told")
				}
				d.answer(c, done{status: 200, requestID: "req-1", ttfb: time.Second, reply: used(100, 10, 0)})
				time.Sleep(time.Second)
				if told := updates(); assert.Len(t, told, 1) {
					assert.Equal(t, "req-1", told[0].CallID)
				}
				calls := d.spans("llm")
				require.Len(t, calls, 1)
				var attrs map[string]any
				require.NoError(t, json.Unmarshal(calls[0].Attrs, &attrs))
				assert.EqualValues(t, 1000, attrs["ttfb_ms"])
				d.close()
			})
		})
	}
}

func TestAgentOfAnotherSource(t *testing.T) {
	for name, tell := range map[string]time.Duration{"before the call": -1, "a moment later": 200 * time.Millisecond, "late": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t)
				if tell < 0 {
					d.another(telemetry.SpanStart, "node")
				}
				c := d.ask(firstTurn, caller{})
				if tell > 0 {
					time.Sleep(tell)
					d.another(telemetry.SpanStart, "node")
				}
				time.Sleep(100 * time.Millisecond)
				d.answer(c, done{status: 200, reply: used(100, 10, 1)})
				d.answer(d.ask(secondTurn, caller{}), done{status: 200, reply: used(200, 20, 0)})
				time.Sleep(time.Second)
				d.another(telemetry.SpanEnd, "node")
				d.answer(d.ask(laterTurn, caller{}), done{status: 200, reply: used(1, 1, 0)}) // its end was told a moment too early
				time.Sleep(time.Minute)
				d.close()
				agents := d.spans("library-analysis")
				require.Len(t, agents, 1)
				assert.EqualValues(t, 332, agents[0].Usage.Tokens)
				for _, made := range d.spans("agent") {
					assert.Equal(t, agents[0].ID, made.SameAs, "one agent, not two")
				}
				assert.Equal(t, 1, d.state.Totals().AgentsSpawned)
			})
		})
	}
}

func TestRetriesAreAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for range 2 {
			c := d.ask(noName, caller{})
			time.Sleep(time.Second)
			d.answer(c, done{status: 429, retryAfter: 2 * time.Second, reply: reply{failed: true, errorType: "rate_limit_error"}})
			failed := d.spans("llm")[0]
			assert.Equal(t, run.Failed, failed.State)
			assert.Equal(t, "HTTP 429 (rate_limit_error), to be tried again after 2 s", failed.Error)
			time.Sleep(2 * time.Second)
		}
		c := d.ask(noName, caller{})
		d.answer(c, done{status: 200, reply: used(10, 1, 0)})
		time.Sleep(time.Minute)
		calls := d.spans("llm")
		require.Len(t, calls, 1)
		assert.Equal(t, run.Done, calls[0].State)
		assert.Equal(t, 3, calls[0].Attempts)
		var attrs map[string]any
		require.NoError(t, json.Unmarshal(calls[0].Attrs, &attrs))
		assert.EqualValues(t, 3, attrs["attempt"])
		assert.EqualValues(t, 2000, attrs["waited_ms"])
		assert.Equal(t, run.Done, d.spans("agent")[0].State, "the agent waited with it")

		// The same again is another call.
		d.answer(d.ask(noName, caller{}), done{status: 200, reply: used(10, 1, 0)})
		assert.Len(t, d.spans("llm"), 2)
		// What the SDK says of a retry is believed.
		d.answer(d.ask(firstTurn, caller{retry: 1}), done{status: 400, reply: reply{failed: true, errorCode: "bad"}})
		assert.Equal(t, "HTTP 400 (bad)", d.spans("llm")[2].Error)
		assert.Contains(t, string(d.spans("llm")[2].Attrs), `"attempt":2`)
		d.answer(d.ask(firstTurn, caller{}), done{status: 200})
		assert.Len(t, d.spans("llm"), 4, "400 is not tried again")
		d.close()
	})
}

func TestWhoCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		main := caller{session: "s1"}
		d.answer(d.ask(noName, main), done{status: 200, reply: used(1, 0, 1)})
		d.answer(d.ask(secondTurn, main), done{status: 200, reply: used(1, 0, 1)}) // another conversation of the same agent
		sub := caller{session: "s1", agent: "a1"}
		d.answer(d.ask(firstTurn, sub), done{status: 200, reply: used(1, 0, 1)})
		time.Sleep(time.Second)
		d.answer(d.ask(noName, caller{session: "s1", agent: "a2", parent: "a1"}), done{status: 200, reply: used(1, 0, 1)})
		d.answer(d.ask(firstTurn, caller{span: "00f067aa0ba902b7"}), done{status: 200, reply: used(1, 0, 1)})
		agents, calls := d.spans("agent"), d.spans("llm")
		require.Len(t, agents, 3)
		assert.Regexp(t, `^agent-[0-9a-f]{6}$`, agents[0].Name)
		assert.Equal(t, "node", agents[1].Name)
		assert.Equal(t, agents[0].ID, agents[1].Parent)
		assert.Equal(t, agents[1].ID, agents[2].Parent)
		for i, parent := range []string{agents[0].ID, agents[0].ID, agents[1].ID, agents[2].ID} {
			assert.Equal(t, parent, calls[i].Parent, i)
		}
		assert.Contains(t, d.lines(), `"parent":"00f067aa0ba902b7"`)
		d.close()
		for _, a := range d.spans("agent") {
			assert.Equal(t, run.Done, a.State)
			assert.Contains(t, string(a.Attrs), "inferred_end")
		}
	})
}

func TestResponsesFollowResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		first := used(1, 0, 1)
		first.id = "resp_1"
		d.answer(d.ask(`{"instructions":"S","input":"Analyze core"}`, caller{}), done{status: 200, reply: first})
		time.Sleep(time.Second)
		d.answer(d.ask(`{"previous_response_id":"resp_1","input":[{"type":"function_call_output","output":"x"}]}`, caller{}), done{status: 200, reply: used(1, 0, 0)})
		d.answer(d.ask(`{"conversation":"conv_1","input":"hello"}`, caller{}), done{status: 200, reply: used(1, 0, 0)})
		d.answer(d.ask(`{"conversation":{"id":"conv_1"},"input":"more"}`, caller{}), done{status: 200, reply: used(1, 0, 0)})
		require.Len(t, d.spans("agent"), 2)
		assert.Equal(t, "core", d.spans("agent")[0].Name)
		for i, agent := range []int{0, 0, 1, 1} {
			assert.Equal(t, d.spans("agent")[agent].ID, d.spans("llm")[i].Parent, i)
		}
		d.close()
	})
}

func TestHowAgentsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		body := func(s string) string { return `{"messages":[{"role":"user","content":"` + s + `"}]}` }
		d.answer(d.ask(body("fails"), caller{}), done{status: 500})
		time.Sleep(patience - time.Second)
		assert.Equal(t, run.Running, d.spans("agent")[0].State, "it may try again")
		time.Sleep(2 * time.Second)
		assert.Equal(t, run.Failed, d.spans("agent")[0].State)
		assert.Equal(t, "HTTP 500", d.spans("agent")[0].Error)

		d.answer(d.ask(body("goes on"), caller{}), done{status: 200, reply: used(5, 0, 0)})
		time.Sleep(time.Minute)
		assert.Equal(t, run.Done, d.spans("agent")[1].State)
		d.answer(d.ask(`{"messages":[{"role":"user","content":"goes on"},{"role":"assistant","content":"so far"},{"role":"user","content":"more"}]}`, caller{}),
			done{status: 200, reply: used(7, 0, 0)})
		assert.Equal(t, run.Running, d.spans("agent")[1].State)
		d.answer(d.ask(body("goes on"), caller{}), done{status: 200, reply: used(1, 0, 0)})
		require.Len(t, d.spans("agent"), 2, "it has not ended")
		time.Sleep(time.Minute)
		d.answer(d.ask(body("goes on"), caller{}), done{status: 200, reply: used(3, 0, 0)})
		require.Len(t, d.spans("agent"), 3, "asked anew when it had ended, it is another")

		d.answer(d.ask(body("given up"), caller{}), done{cancelled: true})
		c := d.ask(body("cut"), caller{})
		_ = c // never ends
		d.close()
		agents := d.spans("agent")
		require.Len(t, agents, 5)
		assert.Equal(t, run.Done, agents[1].State)
		assert.Equal(t, 2, agents[1].Attempts)
		assert.EqualValues(t, 13, agents[1].Usage.Tokens)
		assert.Equal(t, run.Cancelled, agents[3].State)
		assert.Equal(t, run.Cancelled, agents[4].State)
		assert.Equal(t, run.Cancelled, d.spans("llm")[6].State)
		assert.NotContains(t, d.lines(), "canary-prompt")
	})
}

func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		end           done
		status, fault string
	}{
		{done{status: 200}, "ok", ""},
		{done{failure: "connection refused"}, "error", "no answer: connection refused"},
		{done{status: 200, failure: "the answer broke off"}, "error", "HTTP 200, but the answer broke off"},
		{done{status: 529, reply: reply{errorType: "overloaded_error"}}, "error", "HTTP 529 (overloaded_error)"},
		{done{status: 200, reply: reply{failed: true, errorCode: "server_error"}}, "error", "the answer is an error (server_error)"},
		{done{status: 200, cancelled: true}, "cancelled", ""},
		{done{status: 429, cancelled: true, failure: "the answer broke off"}, "error", "HTTP 429"},
	} {
		status, fault := verdict(&tt.end)
		assert.Equal(t, tt.status, status)
		assert.Equal(t, tt.fault, fault)
	}
}

// An id that comes again for another call, as stubs send, makes no two calls one.
func TestCallIDsAreUnique(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for range 3 {
			r := used(10, 0, 0)
			r.id = "chatcmpl-stub"
			d.answer(d.ask(noName, caller{}), done{status: 200, requestID: "req-stub", reply: r})
		}
		d.close()
		assert.EqualValues(t, 30, d.state.Totals().Tokens)
	})
}

// A record that stands still holds no call, and what is lost is told.
func TestRecordStandsStill(t *testing.T) {
	hold := make(chan struct{})
	b := newBook()
	l := newLedger(Config{Record: func(e telemetry.Event) error {
		<-hold
		return b.record(e)
	}})
	go l.run()
	for range inboxSize + 100 {
		c := &call{began: time.Now()}
		l.tell(func(l *ledger) { l.asked(asked{call: c, at: c.began, endpoint: chat}) })
	}
	close(hold)
	l.close()
	assert.Contains(t, b.lines(), "reports on calls were lost")
}

func TestManyAgentsAreBounded(t *testing.T) {
	b := newBook()
	l := newLedger(Config{Record: func(telemetry.Event) error { return nil }})
	now := time.Now()
	for i := range maxAgents + 500 {
		c := &call{began: now}
		l.asked(asked{call: c, at: now, endpoint: chat, read: true, who: caller{agent: string(rune(i + 1))}})
		l.done(done{call: c, at: now, status: 200})
		if i%100 == 0 {
			now = now.Add(time.Minute)
			l.decide(now)
		}
	}
	assert.LessOrEqual(t, len(l.agents), maxAgents)
	assert.Empty(t, b.events)
}
