package receiver

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// burrLine is one line of the log.jsonl that Burr's local tracker writes for an
// application. Times of steps and spans are naive local time, those of attributes
// have an offset.
type burrLine struct {
	Type string `json:"type"`

	StartTime   string `json:"start_time"`
	EndTime     string `json:"end_time"`
	LoggedTime  string `json:"time_logged"`
	SuspendTime string `json:"suspend_time"`
	StreamTime  string `json:"stream_init_time"`
	ItemTime    string `json:"first_item_time"`

	// Action and SequenceID name a step; spans and attributes name it by
	// ActionSequenceID.
	Action           string          `json:"action"`
	SequenceID       int64           `json:"sequence_id"`
	ActionSequenceID int64           `json:"action_sequence_id"`
	Exception        json.RawMessage `json:"exception"` // the text of a traceback, or null
	State            json.RawMessage `json:"state"`     // all of it, after the step

	SpanID       string `json:"span_id"`
	SpanName     string `json:"span_name"`
	ParentSpanID string `json:"parent_span_id"`

	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"` // numbers and truth values are written as text

	at time.Time
}

const (
	burrBegin      = "begin_entry"
	burrEnd        = "end_entry"
	burrSuspend    = "suspend_entry"
	burrSpanBegin  = "begin_span"
	burrSpanEnd    = "end_span"
	burrAttribute  = "attribute"
	burrStream     = "begin_stream"
	burrStreamItem = "first_item_stream"
	burrStreamEnd  = "end_stream"
)

func decodeBurrLine(line []byte, clock *localClock) (*burrLine, error) {
	l := new(burrLine)
	var wrongType *json.UnmarshalTypeError // of one field, which is then left empty
	if err := json.Unmarshal(line, l); err != nil && !errors.As(err, &wrongType) || l.Type == "" {
		return nil, errNotJSON
	}
	text := ""
	switch l.Type {
	case burrBegin, burrSpanBegin:
		text = l.StartTime
	case burrAttribute:
		text = l.LoggedTime
	case burrSuspend:
		text = l.SuspendTime
	case burrStream:
		text = l.StreamTime
	case burrStreamItem:
		text = l.ItemTime
	default:
		text = l.EndTime
	}
	l.at = clock.read(text)
	if l.ActionSequenceID == 0 {
		l.ActionSequenceID = l.SequenceID
	}
	return l, nil
}

// exception gives the last line of a traceback, which says what was raised.
func (l *burrLine) exception() string {
	lines := strings.Split(strings.TrimSpace(plainText(l.Exception)), "\n")
	return cutText(strings.TrimSpace(lines[len(lines)-1]))
}

// plainText gives the text in a field, empty where there is none.
func plainText(field json.RawMessage) string {
	var text string
	if len(field) == 0 || string(field) == "null" {
		return ""
	}
	if json.Unmarshal(field, &text) != nil {
		text = string(field)
	}
	return text
}

// names gives a list of names; Burr writes an empty one as an object.
func names(value json.RawMessage) []string {
	var list []string
	if json.Unmarshal(value, &list) != nil {
		return nil
	}
	return list
}

// burrCounters says which counter an attribute of these names is.
var burrCounters = map[string]func(*telemetry.Counters) *telemetry.Int{
	"input_tokens":            func(c *telemetry.Counters) *telemetry.Int { return &c.Input },
	"prompt_tokens":           func(c *telemetry.Counters) *telemetry.Int { return &c.Input },
	"output_tokens":           func(c *telemetry.Counters) *telemetry.Int { return &c.Output },
	"completion_tokens":       func(c *telemetry.Counters) *telemetry.Int { return &c.Output },
	"cached_tokens":           func(c *telemetry.Counters) *telemetry.Int { return &c.Cached },
	"cache_read_input_tokens": func(c *telemetry.Counters) *telemetry.Int { return &c.Cached },
}

// burrModels are the attributes that name a model, the best last.
var burrModels = []string{"model", "response_model"}

// plain gives an attribute that is a number or a truth value, of which Burr makes
// text. Other texts are left out: they can hold anything.
func plain(value json.RawMessage) (any, bool) {
	text := strings.Trim(string(value), `"`)
	switch text {
	case "true", "True":
		return true, true
	case "false", "False":
		return false, true
	}
	if len(text) == 0 || len(text) > 30 {
		return nil, false
	}
	var n json.Number
	if json.Unmarshal([]byte(text), &n) != nil || n == "" {
		return nil, false
	}
	return n, true
}

// toolCall is a call that a model asked for, as OpenAI's API has it.
type toolCall struct {
	ID       string `json:"id"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"` // JSON
	} `json:"function"`
}

// agentState is what is read of the state of an agent's application. Texts are
// only measured, but for those that say what failed.
type agentState struct {
	Pending  []toolCall `json:"pending_tool_calls"`
	Messages []struct {
		Role       string `json:"role"`
		ToolCallID string `json:"tool_call_id"`
		Content    any    `json:"content"`
	} `json:"messages"`
	Response string `json:"llm_response"`
	Final    string `json:"final_response"`
}

// pipelineState is what is read of the state of a pipeline's application.
type pipelineState struct {
	Components map[string]struct {
		Kind string `json:"kind"`
	} `json:"components"`
	Analyses  map[string]string `json:"component_analyses"`
	Depth     int               `json:"current_depth"`
	Synthesis string            `json:"synthesis_result"`
}

// failedResult tells whether a result is the text that an orchestrator makes of a
// failure before it goes on.
func failedResult(text string) bool { return strings.HasPrefix(text, "Error:") }

// toolFailures are how the result of a failed tool call begins.
var toolFailures = []string{
	"Error:", "Error reading ", "Error writing ", "Error searching", "Error executing ", "Error parsing ", "Unknown tool: ",
}

func failedTool(text string) bool {
	for _, prefix := range toolFailures {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

// decodeState reads as much of a state as has the expected shape.
func decodeState[T any](state json.RawMessage) (s T) {
	if len(state) > 0 {
		_ = json.Unmarshal(state, &s)
	}
	return s
}
