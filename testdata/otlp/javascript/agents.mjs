// Agents of the AI SDK on a model that answers from a script, reported by the
// OpenTelemetry SDK for Node.js. Nothing here names obsrun: where the telemetry goes
// is told by the environment alone.
import { context, propagation, trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { generateText, stepCountIs, tool } from "ai";
import { MockLanguageModelV3 } from "ai/test";
import { z } from "zod";

const sdk = new NodeSDK({ traceExporter: new OTLPTraceExporter(), autoDetectResources: true });
sdk.start();

let calls = 0;
const usage = (input, output) => ({
  inputTokens: { total: input, noCache: input - 40, cacheRead: 40, cacheWrite: 0 },
  outputTokens: { total: output, text: output, reasoning: 0 },
});
const model = new MockLanguageModelV3({
  modelId: "fake-1",
  provider: "fake",
  doGenerate: async ({ prompt }) => {
    const id = `resp-fake-${String(++calls).padStart(4, "0")}`;
    const asked = prompt.some((message) => message.role === "tool");
    return {
      content: asked
        ? [{ type: "text", text: "SECRET answer" }]
        : [{ type: "tool-call", toolCallId: "call-" + id, toolName: "readFile", input: '{"path":"SECRET"}' }],
      finishReason: { unified: asked ? "stop" : "tool-calls", raw: undefined },
      usage: usage(100, 10),
      response: { id, modelId: "fake-1" },
      warnings: [],
    };
  },
});

const readFile = (fails) =>
  tool({
    description: "reads a file",
    inputSchema: z.object({ path: z.string() }),
    execute: async () => {
      if (fails) throw new Error("no such file");
      return "SECRET content";
    },
  });

const agent = (name, fails) =>
  generateText({
    model,
    prompt: "SECRET prompt",
    tools: { readFile: readFile(fails) },
    stopWhen: stepCountIs(3),
    experimental_telemetry: { isEnabled: true, functionId: name },
  });

// With an argument, the agents join the trace that TRACEPARENT names, as a service
// that was called would.
const parent = process.argv[2]
  ? propagation.extract(context.active(), { traceparent: process.env.TRACEPARENT })
  : context.active();
await context.with(parent, () =>
  trace.getTracer("orchestrator").startActiveSpan("analysis", async (span) => {
    await Promise.all([agent("encoding", false), agent("retrieval", true)]);
    span.end();
  }),
);
await sdk.shutdown();
