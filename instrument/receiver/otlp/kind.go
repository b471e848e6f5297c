package otlp

import (
	"strings"
	"sync"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// kindAgent is the kind of an agent about which no more is known.
const kindAgent = "agent"

// kindRow says what spans of one sort are. The sort is told by an attribute and
// its value, and, where prefix is set, by the beginning of the span's name.
type kindRow struct {
	convention string
	key        string // "" looks at the name alone
	value      string // "" takes any value, one that ends in "*" a beginning
	prefix     string

	kind string
	// names are the attributes that hold the span's name, best first; without
	// any of them it is the span name, without prefix and a space.
	names []string
}

// The conventions by name, as rows and tests refer to them.
const (
	claudeCode    = "Claude Code"
	genAI         = "OpenTelemetry GenAI"
	openInference = "OpenInference"
	openLLMetry   = "OpenLLMetry"
	vercel        = "Vercel AI SDK"
	googleADK     = "Google ADK"
	geminiCLI     = "Gemini CLI"
	logfire       = "Logfire"
)

var (
	agentNames = []string{"gen_ai.agent.name", "agent_name", "agent.name", "graph.node.id", "traceloop.entity.name", "gen_ai.agent.id"}
	modelNames = []string{"gen_ai.request.model", "gen_ai.response.model", "llm.model_name", "embedding.model_name", "ai.model.id", "model"}
	toolNames  = []string{"gen_ai.tool.name", "tool.name", "traceloop.entity.name", "ai.toolCall.name", "tool_name"}
	flowNames  = []string{"gen_ai.agent.name", "gen_ai.workflow.name", "traceloop.entity.name"}
)

// kinds is in order of precedence: the first row that matches says what a span
// is. What names its own vocabulary goes before what borrows another's: a
// Claude Code span has some gen_ai attributes beside its own, and a span that
// two instrumentations described follows the OpenTelemetry one.
var kinds = []kindRow{
	{claudeCode, "", "", "claude_code.interaction", kindAgent, nil},
	{claudeCode, "", "", "claude_code.llm_request", telemetry.KindLLM, modelNames},
	{claudeCode, "", "", "claude_code.tool.", telemetry.KindTask, nil},
	{claudeCode, "", "", "claude_code.tool", telemetry.KindTool, toolNames},
	{claudeCode, "", "", "claude_code.", telemetry.KindTask, nil},

	// Wrappers whose operation name is that of the call which they wrap.
	{googleADK, "gen_ai.system", "gcp.vertex.agent", "call_llm", telemetry.KindLLM, modelNames},
	{vercel, "ai.operationId", "*.doGenerate", "", telemetry.KindLLM, modelNames},
	{vercel, "ai.operationId", "*.doStream", "", telemetry.KindLLM, modelNames},
	{vercel, "ai.operationId", "*.doEmbed", "", telemetry.KindLLM, modelNames},
	{vercel, "ai.operationId", "*.doRerank", "", telemetry.KindTask, nil},
	{vercel, "ai.operationId", "ai.toolCall", "", telemetry.KindTool, toolNames},
	{vercel, "ai.operationId", "ai.generateText", "", kindAgent, []string{"ai.telemetry.functionId"}},
	{vercel, "ai.operationId", "ai.streamText", "", kindAgent, []string{"ai.telemetry.functionId"}},
	{vercel, "ai.operationId", "ai.generateObject", "", kindAgent, []string{"ai.telemetry.functionId"}},
	{vercel, "ai.operationId", "ai.streamObject", "", kindAgent, []string{"ai.telemetry.functionId"}},
	{vercel, "ai.operationId", "ai.*", "", telemetry.KindTask, []string{"ai.telemetry.functionId"}},

	{genAI, "gen_ai.operation.name", "invoke_agent", "", kindAgent, agentNames},
	{genAI, "gen_ai.operation.name", "create_agent", "", telemetry.KindTask, nil},
	{genAI, "gen_ai.operation.name", "invoke_workflow", "", telemetry.KindTask, flowNames},
	{genAI, "gen_ai.operation.name", "chat", "", telemetry.KindLLM, modelNames},
	{genAI, "gen_ai.operation.name", "generate_content", "", telemetry.KindLLM, modelNames},
	{genAI, "gen_ai.operation.name", "text_completion", "", telemetry.KindLLM, modelNames},
	{genAI, "gen_ai.operation.name", "completion", "", telemetry.KindLLM, modelNames},
	{genAI, "gen_ai.operation.name", "call_llm", "", telemetry.KindLLM, modelNames},
	{genAI, "gen_ai.operation.name", "embeddings", "", telemetry.KindLLM, modelNames},
	{genAI, "gen_ai.operation.name", "execute_tool", "", telemetry.KindTool, toolNames},
	{genAI, "gen_ai.operation.name", "", "", telemetry.KindTask, nil},

	{openInference, "openinference.span.kind", "AGENT", "", kindAgent, agentNames},
	{openInference, "openinference.span.kind", "LLM", "", telemetry.KindLLM, modelNames},
	{openInference, "openinference.span.kind", "EMBEDDING", "", telemetry.KindLLM, modelNames},
	{openInference, "openinference.span.kind", "TOOL", "", telemetry.KindTool, toolNames},
	{openInference, "openinference.span.kind", "", "", telemetry.KindTask, nil},

	{openLLMetry, "traceloop.span.kind", "agent", "", kindAgent, agentNames},
	{openLLMetry, "traceloop.span.kind", "tool", "", telemetry.KindTool, toolNames},
	{openLLMetry, "traceloop.span.kind", "", "", telemetry.KindTask, flowNames},
	{openLLMetry, "llm.request.type", "rerank", "", telemetry.KindTask, nil},
	{openLLMetry, "llm.request.type", "", "", telemetry.KindLLM, modelNames},

	// Before semantic conventions 1.28 nothing named the operation.
	{googleADK, "gen_ai.system", "gcp.vertex.agent", "execute_tool", telemetry.KindTool, toolNames},
	{googleADK, "", "", "agent_run [", kindAgent, agentNames},
	{genAI, "gen_ai.tool.name", "", "", telemetry.KindTool, toolNames},
	{genAI, "gen_ai.usage.input_tokens", "", "", telemetry.KindLLM, modelNames},
	{genAI, "gen_ai.usage.prompt_tokens", "", "", telemetry.KindLLM, modelNames},
	{openInference, "llm.token_count.prompt", "", "", telemetry.KindLLM, modelNames},
	{genAI, "gen_ai.response.id", "", "", telemetry.KindLLM, modelNames},
	{genAI, "gen_ai.agent.name", "", "invoke_agent", kindAgent, agentNames},
}

// other is what no row knows: an HTTP request, a database call, a framework's
// own step.
var other = kindRow{kind: telemetry.KindTask}

func (r *kindRow) matches(name string, a *attributes) bool {
	if r.prefix != "" && !strings.HasPrefix(name, r.prefix) {
		return false
	}
	if r.key == "" || r.value == "" {
		return true
	}
	value := a.text(r.key)
	switch {
	case strings.HasPrefix(r.value, "*"):
		return strings.HasSuffix(value, r.value[1:])
	case strings.HasSuffix(r.value, "*"):
		return strings.HasPrefix(value, r.value[:len(r.value)-1])
	}
	return value == r.value
}

// kindKeys are the keys of the rows, nil where a row has none.
var kindKeys = sync.OnceValue(func() []keyed {
	keys := make([]keyed, len(kinds))
	for i := range kinds {
		keys[i] = keyedBy(kinds[i].key)
	}
	return keys
})

// kindOf gives the row for a span.
func kindOf(name string, a *attributes) *kindRow {
	for i, key := range kindKeys() {
		if (key.ids == nil || a.have.has(key.ids[0])) && kinds[i].matches(name, a) {
			return &kinds[i]
		}
	}
	return &other
}

// maxName bounds a span's name, in bytes.
const maxName = 200

// nameOf gives the name that a person looks for.
func (r *kindRow) nameOf(name string, a *attributes) string {
	if given := a.first(r.names...); given != "" {
		return cut(given, maxName)
	}
	short := name
	switch r.convention {
	case claudeCode, vercel:
		if r.kind == kindAgent && r.convention == claudeCode {
			return "claude-code" // its main agent has no name
		}
		short = strings.TrimPrefix(strings.TrimPrefix(name, "claude_code."), "ai.")
	case googleADK:
		if rest, ok := strings.CutPrefix(name, "agent_run ["); ok {
			short = strings.TrimSuffix(rest, "]")
		}
	case genAI:
		// Span names are "OPERATION NAME" by the convention.
		if op := a.text("gen_ai.operation.name"); op != "" {
			short = strings.TrimPrefix(name, op+" ")
		}
	}
	if short == "" {
		short = r.kind
	}
	return cut(short, maxName)
}
