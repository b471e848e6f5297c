package telemetry

import (
	"encoding/json"
	"math"
)

// Int is a counter that may be absent. Absent is not zero: nobody said anything.
type Int struct {
	N  int64
	OK bool
}

// Float is a number that may be absent.
type Float struct {
	F  float64
	OK bool
}

// N is a present counter.
func N(n int64) Int { return Int{N: n, OK: true} }

// F is a present number.
func F(f float64) Float { return Float{F: f, OK: true} }

// MaxCount is the largest counter that is believed: integers above it are not
// exact in JSON.
const MaxCount = 1 << 53

// Counters are what a span reports of its consumption: totals so far of its
// current attempt.
type Counters struct {
	// Tokens is input plus output; Input includes Cached.
	Tokens, Input, Output, Cached Int
	ToolUses                      Int
	// CostUSD is in US dollars.
	CostUSD Float
}

// Event is one line of telemetry: the fields that mean something to obsrun,
// beside the line itself in Raw. Which of them an event has is told by Specs.
type Event struct {
	Type   Type
	SpanID string
	// TS is the producer's clock in Unix seconds, as written; see Micros.
	TS Float
	// RecvMS is when the line arrived, in milliseconds since the run's start.
	RecvMS Int
	Source string

	Parent, Component, Name, Kind, Phase string
	Status, Error, Message, Level, Path  string
	// CallID is a provider's response or request id on an llm span.
	CallID string
	// TokensScope is "self" when the counters exclude what the children used.
	TokensScope string
	Counters
	DurationMS, WallMS, IdleMS Float
	Attrs, Evidence            json.RawMessage
	// Counts are the other numbers of a phase event, by their key.
	Counts map[string]float64

	// Raw is the line as it came, without a newline. Nil on an event that was
	// made here: its line is made from the fields.
	Raw []byte
	// Fault says why Raw is no valid event. Such an event is handed on like any
	// other and ends in rejected.jsonl.
	Fault string

	// reserved is a field in Raw that only obsrun may write.
	reserved string
}

// Rejected is input that is no event, with the reason: it goes through the same
// door as events do, so that nothing is dropped silently.
func Rejected(source string, raw []byte, reason error) Event {
	return Event{Source: source, Raw: raw, Fault: reason.Error()}
}

// Micros is the event's ts in Unix microseconds. A value that can only be
// milliseconds, microseconds or nanoseconds (beyond the year 5138 as seconds)
// is read as such. False when there is none that can be believed.
func (e *Event) Micros() (int64, bool) {
	if !e.TS.OK || e.TS.F < 0 {
		return 0, false
	}
	micros := e.TS.F
	switch {
	case micros < 1e11: // seconds
		micros *= 1e6
	case micros < 1e14: // milliseconds
		micros *= 1e3
	case micros < 1e17: // microseconds
	case micros < 1e20: // nanoseconds
		micros /= 1e3
	default:
		return 0, false
	}
	return int64(math.Round(micros)), true
}
