package receiver

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// graphLine is one line of the tool_calls.jsonl that a LangChain callback handler
// writes for an orchestrator on LangGraph. Fields that are absent and those that
// are null are the same.
type graphLine struct {
	Event string `json:"event"`
	// Timestamp is naive local time, ISO 8601 with microseconds.
	Timestamp string `json:"timestamp"`
	// RunID is LangChain's id of the run of a chain or model, not one of the
	// provider. ParentRunID is the run it was started in.
	RunID       string `json:"run_id"`
	ParentRunID string `json:"parent_run_id"`
	// AgentID is "TYPE-N", or "MAIN_AGENT" for the lead: the agent whose turn it
	// was when the line was written.
	AgentID   string `json:"agent_id"`
	AgentType string `json:"agent_type"`
	NodeName  string `json:"node_name"`

	SubagentID   string `json:"subagent_id"`
	SubagentType string `json:"subagent_type"`
	Description  string `json:"description"` // "Analyze X", or "L0:X" in a layer

	Model         string          `json:"model"`
	Input         json.RawMessage `json:"input_tokens"`
	Output        json.RawMessage `json:"output_tokens"`
	CacheRead     json.RawMessage `json:"cache_read_tokens"`
	CacheCreation json.RawMessage `json:"cache_creation_tokens"`
	Response      struct {
		ToolCalls      json.RawMessage `json:"tool_call_count"`
		Length         json.RawMessage `json:"response_length"`
		ThinkingLength json.RawMessage `json:"thinking_length"`
	} `json:"response_analysis"`

	ToolUseID  string          `json:"tool_use_id"`
	ToolName   string          `json:"tool_name"`
	ToolInput  json.RawMessage `json:"tool_input"`
	OutputSize json.RawMessage `json:"output_size"`
	Error      json.RawMessage `json:"error"`
	DurationMS float64         `json:"duration_ms"`

	LayerIndex int      `json:"layer_index"`
	Components []string `json:"components"`
	Results    []struct {
		Component string          `json:"component"`
		Success   bool            `json:"success"`
		Seconds   float64         `json:"duration"`
		Error     json.RawMessage `json:"error"`
	} `json:"results"`
}

const (
	graphNodeStart    = "graph_node_start"
	graphNodeEnd      = "graph_node_end"
	graphNodeError    = "graph_node_error"
	graphSpawn        = "subagent_spawn"
	graphAgentDone    = "subagent_complete"
	graphModelStart   = "llm_start"
	graphModelDone    = "llm_complete"
	graphToolStart    = "tool_call_start"
	graphToolDone     = "tool_call_complete"
	graphToolError    = "tool_call_error"
	graphLayerStart   = "layer_start"
	graphLayerDone    = "layer_complete"
	graphOrchestrates = "orchestration_start"

	// graphUnknown is what the handler writes where it has no name.
	graphUnknown = "unknown"
)

func decodeGraphLine(line []byte) (graphLine, error) {
	var l graphLine
	var wrongType *json.UnmarshalTypeError // of one field, which is then left empty
	if err := json.Unmarshal(line, &l); err != nil && !errors.As(err, &wrongType) || l.Event == "" {
		return graphLine{}, errNotJSON
	}
	return l, nil
}

// isGraphLine tells the log of this generation by one of its lines: by an event
// that only it has, or by a field that the others lack.
func isGraphLine(line []byte) bool {
	l, err := decodeGraphLine(line)
	if err != nil {
		return false
	}
	switch l.Event {
	case graphNodeStart, graphNodeEnd, graphNodeError, graphSpawn, graphModelStart, graphModelDone, graphToolError,
		graphLayerStart, graphLayerDone, graphOrchestrates:
		return true
	case graphToolStart, graphToolDone, graphAgentDone:
		var fields map[string]json.RawMessage
		if json.Unmarshal(line, &fields) != nil {
			return false
		}
		for _, field := range []string{"graph_node", "input_preview", "duration_ms", "duration", "tool_calls"} {
			if _, ok := fields[field]; ok {
				return true
			}
		}
	}
	return false
}

// usage gives the tokens of a finished model call, none where the handler was
// told of none. It writes down the fields of an API in OpenAI's manner, whose
// input includes what was read from a cache or written to it. Where the input is
// less than those it can not, as with Anthropic's own fields, and they are added.
func (l *graphLine) usage() telemetry.Counters {
	input, output := number(l.Input), number(l.Output)
	read, created := number(l.CacheRead), number(l.CacheCreation)
	if input+output+read+created == 0 {
		return telemetry.Counters{}
	}
	if input < read+created {
		input += read + created
	}
	return telemetry.Counters{Input: telemetry.N(input), Output: telemetry.N(output), Cached: telemetry.N(read)}
}

// modelAttrs says which model was asked, and how much came back.
func (l *graphLine) modelAttrs() json.RawMessage {
	attrs := map[string]any{}
	if l.Model != "" && l.Model != graphUnknown {
		attrs[attrModel] = cutText(l.Model)
	}
	for key, value := range map[string]json.RawMessage{
		"tool_calls": l.Response.ToolCalls, "response_length": l.Response.Length, "thinking_length": l.Response.ThinkingLength,
		"cache_creation_tokens": l.CacheCreation,
	} {
		if n := number(value); n > 0 {
			attrs[key] = n
		}
	}
	if len(attrs) == 0 {
		return nil
	}
	return telemetry.Attrs(attrs)
}

// attrModel is the model that a call went to, under the name that the semantic
// conventions of OpenTelemetry have for it.
const attrModel = "gen_ai.request.model"

// number gives a count in a field of a log, 0 where there is none. Some trackers
// write numbers as text.
func number(field json.RawMessage) int64 {
	text := strings.Trim(string(field), `"`)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(text, 64)
		if ferr != nil || !(f >= 0 && f <= telemetry.MaxCount) {
			return 0
		}
		n = int64(f)
	}
	if n < 0 || n > telemetry.MaxCount {
		return 0
	}
	return n
}

// layered finds component and layer in the description of an agent that was
// started in a layer, "L0:X".
func layered(description string) (layer int, name string, ok bool) {
	rest, found := strings.CutPrefix(description, "L")
	digits, name, colon := strings.Cut(rest, ":")
	layer, err := strconv.Atoi(digits)
	return layer, name, found && colon && err == nil && layer >= 0 && name != ""
}
