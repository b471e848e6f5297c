// Package otlp is the OTLP/HTTP receiver: it takes what OpenTelemetry exporters
// of the orchestrator send and turns it into telemetry events.
//
// Caveats first. Spans come when they end, so what runs now is not seen, but for
// pending spans (Logfire) and for what Claude Code's agents already finished.
// The GenAI conventions are in development and instrumentations of every age are
// about: what a span is comes from the tables in kind.go, usage.go and
// attribute.go, and what stands in none of them is a task. Content is never
// taken over: no prompt, completion, message, tool argument or tool result, and
// of the other attributes only the few that are named. Links, resources' other
// attributes, trace state and sampling are ignored. Metrics count only when
// nothing better came (see metric.go). OTLP over gRPC is not spoken.
//
// Tokens come from inference spans that have no other metered inference span
// below them. Usage that stands on an agent's span is used where no metered
// inference was seen below it; where the agent's span came first, the fold takes
// the larger of both, so nothing is counted twice.
//
// A span's id is its OTLP span id in lower-case hex, and so is its parent. A
// parent that never comes, or none, puts the span under the run's root: whoever
// knew the run's token belongs to the run, whether or not it picked up
// TRACEPARENT.
//
// Formats: OTLP 1.11 (opentelemetry-proto, docs/specification.md: OTLP/HTTP,
// binary protobuf and JSON), OpenTelemetry semantic conventions for generative
// AI 1.27 to 1.41 and their own releases since (semantic-conventions-genai
// 0.1.0), OpenInference (semantic conventions 0.1.46), OpenLLMetry
// (opentelemetry-semantic-conventions-ai 0.4), Vercel AI SDK 3.3 to 7, Claude Code
// 2.1 (monitoring-usage, traces in beta), Google ADK 1, Logfire's pending spans,
// Gemini CLI's log events, and the spans that obsrun itself exports (package
// report/export).
package otlp
