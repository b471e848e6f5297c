// What an orchestrator's own log says: tool_calls.jsonl of a tracker on an agent
// SDK or on LangGraph, or the transcript of a session. Pure. It holds what
// telemetry leaves out on purpose: commands, texts, thoughts.
//
// Times in such logs are local time without an offset, as a rule; they are read in
// the browser's zone, and joinLog mends what that gets wrong.

const MOST_TEXT = 4000; // characters of a text that are kept

const textOf = (value) => (typeof value === "string" ? value : "");
const countOf = (value) => (typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : typeof value === "string" && /^\d+$/.test(value) ? Number(value) : NaN);
const objectOf = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const momentOf = (value) => (typeof value === "number" ? value * (value < 1e11 ? 1000 : 1) : Date.parse(textOf(value)));

// ToolLog takes in a log piece by piece. calls are {id, agent, tool, input, at,
// end, took, failed, error, size}, blocks {agent, kind ("text" or "thinking"), at,
// length, text}, usage {agent, at, input, read, created, output} of model calls,
// input without what read and created say; agents maps ids to {type, name}. Times
// are Unix milliseconds, NaN where the log has none.
export class ToolLog {
  constructor() {
    this.calls = [];
    this.blocks = [];
    this.usage = [];
    this.agents = new Map();
    this.lines = 0;
    this.unreadable = 0;
    this.byId = new Map();
    this.told = new Set(); // messages of a transcript whose usage was counted
    this.rest = "";
  }

  // feed takes the next piece of the file; the last line waits until it is whole.
  feed(piece) {
    const lines = (this.rest + piece).split("\n");
    this.rest = lines.pop();
    for (const line of lines) this.line(line);
    return this;
  }

  // close takes a last line that has no end.
  close() {
    this.line(this.rest);
    this.rest = "";
    return this;
  }

  get empty() {
    return this.calls.length + this.blocks.length + this.usage.length === 0;
  }

  line(line) {
    if (!line.trim()) return;
    this.lines++;
    let event;
    try {
      event = JSON.parse(line);
    } catch {
      this.unreadable++;
      return;
    }
    if (event === null || typeof event !== "object" || Array.isArray(event)) this.unreadable++;
    else if (event.message && typeof event.message === "object") this.message(event);
    else this.event(event);
  }

  event(e) {
    const at = momentOf(e.timestamp ?? e.ts);
    const agent = textOf(e.agent_id);
    switch (e.event) {
      case "tool_call_start": return this.start(textOf(e.tool_use_id), { agent, tool: textOf(e.tool_name), input: objectOf(e.tool_input), at });
      case "tool_call_complete": case "tool_call_error":
        return this.complete(textOf(e.tool_use_id), {
          agent, tool: textOf(e.tool_name), at, took: countOf(e.duration_ms), size: countOf(e.output_size),
          failed: e.event === "tool_call_error" || e.success === false, error: textOf(e.error),
        });
      case "text_block": return this.block("text", agent, at, textOf(e.text), countOf(e.text_length));
      case "thinking_block": return this.block("thinking", agent, at, textOf(e.thinking), countOf(e.thinking_length));
      case "llm_complete": return this.used(agent, at, e, "tokens");
      case "subagent_spawn": case "subagent_complete":
        this.agents.set(textOf(e.subagent_id), { type: textOf(e.subagent_type), name: textOf(e.description).replace(/^Analyze /, "") });
    }
    return undefined;
  }

  // message takes a line of a session's transcript. A message is told once for each
  // of its parts; its usage counts once.
  message(e) {
    const { message } = e;
    const at = momentOf(e.timestamp);
    const agent = textOf(e.agentId) || textOf(e.sessionId);
    const id = textOf(message.id);
    if (message.usage && !(id && this.told.has(id))) this.used(agent, at, objectOf(message.usage), "input_tokens");
    if (id) this.told.add(id);
    for (const part of Array.isArray(message.content) ? message.content : []) {
      if (part?.type === "text" && message.role !== "user") this.block("text", agent, at, textOf(part.text), NaN);
      if (part?.type === "thinking") this.block("thinking", agent, at, textOf(part.thinking), NaN);
      if (part?.type === "tool_use") this.start(textOf(part.id), { agent, tool: textOf(part.name), input: objectOf(part.input), at });
      if (part?.type === "tool_result") {
        const said = typeof part.content === "string" ? part.content : (JSON.stringify(part.content) ?? "");
        this.complete(textOf(part.tool_use_id), { agent, tool: "", at, size: said.length, failed: part.is_error === true, error: part.is_error === true ? said.slice(0, 300) : "" });
      }
    }
  }

  start(id, call) {
    if (id && this.byId.has(id)) return;
    const one = { id, end: NaN, took: NaN, failed: false, error: "", size: NaN, ...call };
    this.calls.push(one);
    if (id) this.byId.set(id, one);
  }

  complete(id, { agent, tool, at, took, size, failed, error }) {
    if (!id) return;
    if (!this.byId.has(id)) this.start(id, { agent, tool, input: {}, at: at - (took >= 0 ? took : 0) });
    const one = this.byId.get(id);
    Object.assign(one, { end: at, took: took >= 0 ? took : at - one.at, size, failed, error: error.slice(0, MOST_TEXT) });
  }

  block(kind, agent, at, said, length) {
    this.blocks.push({ kind, agent, at, length: Number.isNaN(length) ? said.length : length, text: said.slice(0, MOST_TEXT) });
  }

  // used takes the tokens of a model call. The fields of one API include what was
  // read from a cache and written to it in the input, those of the other do not.
  used(agent, at, of, fields) {
    const [read, created] = fields === "tokens"
      ? [countOf(of.cache_read_tokens), countOf(of.cache_creation_tokens)]
      : [countOf(of.cache_read_input_tokens), countOf(of.cache_creation_input_tokens)];
    const known = { read: read || 0, created: created || 0, output: countOf(of.output_tokens) || 0 };
    const input = countOf(of.input_tokens) || 0;
    const cached = known.read + known.created;
    const included = fields === "tokens" && input >= cached;
    if (input + cached + known.output > 0) this.usage.push({ agent, at, input: included ? input - cached : input, ...known });
  }
}
