package receiver

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// sdkLine is one line of the tool_calls.jsonl that a tracker on top of the
// Claude Agent SDK writes: its hooks and its message stream. Fields that are
// absent and those that are null are the same.
type sdkLine struct {
	Event string `json:"event"`
	// Timestamp is naive local time, ISO 8601 with microseconds.
	Timestamp string `json:"timestamp"`
	// AgentID is "TYPE-N", or "MAIN_AGENT" for the lead, whose type is "lead".
	AgentID   string `json:"agent_id"`
	AgentType string `json:"agent_type"`
	// SDKAgentID is the SDK's own id of the agent, known to some hooks only.
	SDKAgentID string `json:"sdk_agent_id"`
	// ParentToolUseID is the call of the Task tool that spawned the agent.
	ParentToolUseID string `json:"parent_tool_use_id"`

	// ToolUseID is the call; in subagent_complete that of the Task tool.
	ToolUseID  string          `json:"tool_use_id"`
	ToolName   string          `json:"tool_name"`
	ToolInput  json.RawMessage `json:"tool_input"`
	Success    *bool           `json:"success"`
	Error      json.RawMessage `json:"error"` // text, as a rule
	OutputSize json.RawMessage `json:"output_size"`

	TextLength     json.RawMessage `json:"text_length"`
	ThinkingLength json.RawMessage `json:"thinking_length"`

	SubagentID   string `json:"subagent_id"`
	SubagentType string `json:"subagent_type"`
	Description  string `json:"description"`
	SpawnedAt    string `json:"spawned_at"`

	// GraphNode and RunID mark the log of another generation with the same name.
	GraphNode string `json:"graph_node"`
	RunID     string `json:"run_id"`
}

const (
	sdkText      = "text_block"
	sdkThinking  = "thinking_block"
	sdkStart     = "tool_call_start"
	sdkComplete  = "tool_call_complete"
	sdkResult    = "tool_result_received"
	sdkAgentDone = "subagent_complete"

	sdkLead     = "MAIN_AGENT"
	sdkLeadType = "lead"

	// sdkUnmapped is in the name of an event, or of an agent, that the tracker
	// could not map to an agent it knows.
	sdkUnmapped = "unmapped"
)

var errNotJSON = errors.New("not a JSON object of the expected shape")

func decodeSDKLine(line []byte) (sdkLine, error) {
	var l sdkLine
	var wrongType *json.UnmarshalTypeError // of one field, which is then left empty
	if err := json.Unmarshal(line, &l); err != nil && !errors.As(err, &wrongType) || l.Event == "" {
		return sdkLine{}, errNotJSON
	}
	return l, nil
}

// isSDKLine tells the log of this generation by one of its lines. The later one,
// of a LangGraph callback handler, names graph nodes and runs, and has no
// spawned_at.
func isSDKLine(line []byte) bool {
	l, err := decodeSDKLine(line)
	if err != nil || l.GraphNode != "" || l.RunID != "" {
		return false
	}
	switch l.Event {
	case sdkText, sdkThinking, sdkResult:
		return true
	case sdkStart, sdkComplete:
		return l.ToolName != ""
	case sdkAgentDone:
		return l.SpawnedAt != ""
	}
	return strings.Contains(l.Event, sdkUnmapped)
}

// unmapped tells whether the tracker says in this line that it could not find the
// agent that something belongs to: by the event's name, or by that of the agent.
func (l *sdkLine) unmapped() bool {
	for _, name := range []string{l.Event, l.AgentID, l.AgentType} {
		if strings.Contains(strings.ToLower(name), sdkUnmapped) {
			return true
		}
	}
	return false
}

// failed gives the error of a tool_call_complete, and whether it has one.
func (l *sdkLine) failed() (string, bool) {
	text := errorText(l.Error)
	if l.Success != nil {
		return text, !*l.Success
	}
	return text, text != ""
}

// errorText gives the error in a field of a log, empty where there is none.
func errorText(field json.RawMessage) string {
	var text string
	switch {
	case len(field) == 0 || string(field) == "null":
	case json.Unmarshal(field, &text) == nil:
	default:
		text = string(field)
	}
	return cutText(text)
}

// callAttrs says which file or pattern a call with this input is about. Commands,
// queries and contents are left out: they can hold anything.
func callAttrs(toolInput json.RawMessage) json.RawMessage {
	var input struct {
		FilePath     any `json:"file_path"`
		NotebookPath any `json:"notebook_path"`
		Path         any `json:"path"`
		Pattern      any `json:"pattern"`
	}
	if json.Unmarshal(toolInput, &input) != nil {
		return nil
	}
	attrs := map[string]string{}
	put := func(key string, value any) {
		if text, ok := value.(string); ok && text != "" && attrs[key] == "" {
			attrs[key] = cutText(text)
		}
	}
	put("path", input.FilePath)
	put("path", input.NotebookPath)
	put("path", input.Path)
	put("pattern", input.Pattern)
	if len(attrs) == 0 {
		return nil
	}
	return telemetry.Attrs(attrs)
}

// lengthAttrs gives a length under its key, if the line has it as a number.
func lengthAttrs(key string, length json.RawMessage) json.RawMessage {
	n, err := strconv.ParseInt(string(length), 10, 64)
	if err != nil {
		return nil
	}
	return telemetry.Attrs(map[string]int64{key: n})
}

// cutText bounds what is taken over of a text that somebody else wrote.
func cutText(text string) string {
	const most = 500
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// sdkKinds says what the agent types of a known orchestrator are. Any other type
// is a kind of its own, without a phase.
var sdkKinds = map[string]struct{ kind, phase string }{
	"code-library-analyzer":     {"library-analysis", "library_analysis"},
	"application-analyzer":      {"application-analysis", "application_analysis"},
	"external-service-analyzer": {"external-service-analysis", "external_service_analysis"},
	"architecture-documenter":   {"synthesis", "synthesis"},
}

// sdkKind gives the kind and phase of an agent type. A subagent is an agent even
// if its type happens to be the name of a kind that is none.
func sdkKind(agentType string) (kind, phase string) {
	if known, ok := sdkKinds[agentType]; ok {
		return known.kind, known.phase
	}
	if !telemetry.IsAgent(agentType) {
		return "agent", ""
	}
	return agentType, ""
}

// component finds what an agent works on in its description, "Analyze X".
func component(description string) string {
	name, ok := strings.CutPrefix(strings.TrimSpace(description), "Analyze ")
	if name = strings.TrimSpace(name); !ok || strings.ContainsAny(name, " \t\n") {
		return ""
	}
	return name
}

// durationMS is the time between two moments, absent where one is not known.
func durationMS(from, to time.Time) telemetry.Float {
	if from.IsZero() || to.Before(from) {
		return telemetry.Float{}
	}
	return telemetry.F(float64(to.Sub(from).Microseconds()) / 1e3)
}
