package gateway

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// The fields of an answer.
const (
	tellID field = iota + 1
	tellModel
	tellType // of an event
	tellFinish
	tellStatus
	tellPrompt     // prompt_tokens: input with cache
	tellInput      // input_tokens: with cache at OpenAI, without at Anthropic
	tellOutput     // completion_tokens, output_tokens
	tellTotal      // total_tokens
	tellCached     // cached_tokens: part of the input
	tellCacheRead  // cache_read_input_tokens: beside Anthropic's input_tokens
	tellCacheWrite // cache_creation_input_tokens: likewise
	tellCost       // in US dollars
	tellChoice
	tellChoiceIndex
	tellTool // a call in a chat completion
	tellToolIndex
	tellToolID
	tellBlock      // type of a content block
	tellOutputItem // type of an output item in a whole response
	tellItem       // type of an output item in an event
	tellError
	tellErrorType
	tellErrorCode
)

// tellAll is what is looked for in an answer, whole or as an event of a stream.
// The APIs share no key with another meaning, so one tree serves all: OpenAI's
// chat completions (the last chunk of a stream holds usage), responses (events
// response.*, the last with the whole response) and embeddings; Anthropic's
// messages (message_start, content_block_start, message_delta). x_groq and cost
// are what Groq and OpenRouter add.
var tellAll = func() *want {
	// More is kept than a word may have, so that a long text is not cut to one.
	leaf := func(f field) *want { return &want{field: f, keep: 2 * maxWord} }
	cached := &want{members: map[string]*want{"cached_tokens": leaf(tellCached)}}
	usage := &want{members: map[string]*want{
		"prompt_tokens": leaf(tellPrompt), "input_tokens": leaf(tellInput),
		"completion_tokens": leaf(tellOutput), "output_tokens": leaf(tellOutput),
		"total_tokens":          leaf(tellTotal),
		"prompt_tokens_details": cached, "input_tokens_details": cached,
		"prompt_cache_hit_tokens":     leaf(tellCached),
		"cache_read_input_tokens":     leaf(tellCacheRead),
		"cache_creation_input_tokens": leaf(tellCacheWrite),
		"cost":                        leaf(tellCost),
	}}
	fault := &want{field: tellError, members: map[string]*want{"type": leaf(tellErrorType), "code": leaf(tellErrorCode)}}
	calls := &want{items: &want{field: tellTool, members: map[string]*want{"index": leaf(tellToolIndex), "id": leaf(tellToolID)}}}
	choice := &want{field: tellChoice, members: map[string]*want{
		"index": leaf(tellChoiceIndex), "finish_reason": leaf(tellFinish),
		"message": {members: map[string]*want{"tool_calls": calls}},
		"delta":   {members: map[string]*want{"tool_calls": calls}},
	}}
	blocks := &want{items: &want{members: map[string]*want{"type": leaf(tellBlock)}}}
	output := &want{items: &want{members: map[string]*want{"type": leaf(tellOutputItem)}}}
	response := &want{members: map[string]*want{
		"id": leaf(tellID), "model": leaf(tellModel), "status": leaf(tellStatus),
		"usage": usage, "output": output, "error": fault,
	}}
	return &want{members: map[string]*want{
		"id": leaf(tellID), "model": leaf(tellModel), "type": leaf(tellType), "status": leaf(tellStatus),
		"usage": usage, "x_groq": {members: map[string]*want{"usage": usage}},
		"choices":       {items: choice},
		"content":       blocks,
		"content_block": {members: map[string]*want{"type": leaf(tellBlock)}},
		"stop_reason":   leaf(tellFinish),
		"delta":         {members: map[string]*want{"stop_reason": leaf(tellFinish)}},
		"message":       {members: map[string]*want{"id": leaf(tellID), "model": leaf(tellModel), "usage": usage}},
		"output":        output,
		"item":          {members: map[string]*want{"type": leaf(tellItem)}},
		"response":      response,
		"error":         fault,
	}}
}()

// reply is what is known of an answer.
type reply struct {
	id, model, finish    string
	failed               bool // it says so itself
	errorType, errorCode string
	complete             bool // a stream said that it ends here

	prompt, input, output, total, cached, cacheRead, cacheWrite telemetry.Int
	cost                                                        telemetry.Float
	// toolCalls are those that the model asked for; clientCalls those of them
	// that the program has to run, so that another request must follow.
	toolCalls, clientCalls int64
}

// counters are the tokens as telemetry has them: input includes what was cached.
func (r *reply) counters() telemetry.Counters {
	c := telemetry.Counters{Input: r.input, Output: r.output, Cached: r.cached, CostUSD: r.cost}
	switch {
	case r.prompt.OK:
		c.Input = r.prompt
	case r.input.OK:
		c.Input = telemetry.N(r.input.N + r.cacheRead.N + r.cacheWrite.N)
	}
	if r.cacheRead.OK && r.cacheRead.N >= c.Cached.N {
		c.Cached = r.cacheRead
	}
	// Some providers count reasoning in the total alone.
	if r.total.OK && r.total.N > c.Input.N+c.Output.N {
		c.Tokens = r.total
	}
	return c
}

// answer reads an answer as it passes.
type answer struct {
	reply
	scan   *scanner
	stream *eventStream // nil: one document

	// Of the event at hand, or the document.
	event, status         string
	item                  string
	items, client         int64 // calls in a whole response
	choice                int64
	tool                  int64   // index of the call, -1 where it has none
	asked                 []int64 // indexes of the choice's calls
	toolID                bool
	started               bool // the first byte of the data was seen
	dull                  bool // what is left of the event tells nothing
	slots                 map[[2]int64]bool
	doneItems, doneClient int64 // calls that events told one by one
}

// maxSlots bounds the tool calls that are told apart.
const maxSlots = 4096

func newAnswer(isStream bool) *answer {
	a := &answer{}
	a.scan = newScanner(tellAll, a.take)
	if isStream {
		a.stream = &eventStream{data: a.data, end: a.commit}
	}
	return a
}

func (a *answer) write(b []byte) {
	if a.stream != nil {
		a.stream.write(b)
		return
	}
	a.scan.write(b)
}

// end says that nothing more comes.
func (a *answer) end() {
	if a.stream != nil {
		a.stream.close()
		return
	}
	a.commit()
}

// dullEvent is how Anthropic's pieces of text begin, nearly all of a stream. They have
// nothing that is looked for.
var dullEvent = []byte(`{"type":"content_block_delta",`)

func (a *answer) data(b []byte) {
	if !a.started && len(b) > 0 {
		a.started = true
		a.complete = a.complete || b[0] == '[' // [DONE]
		a.dull = bytes.HasPrefix(b, dullEvent)
	}
	if !a.dull {
		a.scan.write(b)
	}
}

func (a *answer) take(t token, f field, b []byte) {
	switch f {
	case tellChoice:
		switch t {
		case opened:
			a.choice, a.asked = 0, a.asked[:0]
		case closed:
			a.asks()
		}
		return
	case tellTool:
		switch t {
		case opened:
			a.tool, a.toolID = -1, false
		case closed:
			// In a stream, parts of a call after the first have no id.
			if (a.tool >= 0 || a.toolID || a.stream == nil) && len(a.asked) < maxSlots {
				a.asked = append(a.asked, a.tool)
			}
		}
		return
	case tellError:
		if t == opened || t == text {
			a.failed = true
		}
		return
	}
	switch t {
	case text:
		a.takeText(f, b)
	case scalar:
		a.takeNumber(f, b)
	}
}

func (a *answer) takeText(f field, b []byte) {
	set := func(s *string) {
		if *s == string(b) {
			return // the same in one event after the other
		}
		if w := wordOf(b); w != "" {
			*s = w
		}
	}
	switch f {
	case tellID:
		set(&a.id)
	case tellModel:
		set(&a.model)
	case tellFinish:
		set(&a.finish)
	case tellErrorType:
		set(&a.errorType)
	case tellErrorCode:
		set(&a.errorCode)
	case tellType:
		set(&a.event)
	case tellStatus:
		set(&a.status)
	case tellToolID:
		a.toolID = len(b) > 0
	case tellBlock:
		a.call(string(b), &a.toolCalls, &a.clientCalls)
	case tellOutputItem:
		a.call(string(b), &a.items, &a.client)
	case tellItem:
		a.item = string(b)
	}
}

func (a *answer) takeNumber(f field, b []byte) {
	switch f {
	case tellPrompt:
		largest(&a.prompt, b)
	case tellInput:
		largest(&a.input, b)
	case tellOutput:
		largest(&a.output, b)
	case tellTotal:
		largest(&a.total, b)
	case tellCached:
		largest(&a.cached, b)
	case tellCacheRead:
		largest(&a.cacheRead, b)
	case tellCacheWrite:
		largest(&a.cacheWrite, b)
	case tellErrorCode:
		a.errorCode = wordOf(b)
	case tellCost:
		if cost, err := strconv.ParseFloat(string(b), 64); err == nil && cost >= a.cost.F && cost < 1e6 {
			a.cost = telemetry.F(cost)
		}
	case tellChoiceIndex, tellToolIndex:
		n, err := strconv.ParseInt(string(b), 10, 64)
		switch {
		case err != nil:
		case f == tellToolIndex:
			a.tool = n
		default:
			a.choice = n
		}
	}
}

// asks counts the calls of a choice in a chat completion. In a stream the parts
// of a call bear the same index.
func (a *answer) asks() {
	for _, tool := range a.asked {
		slot := [2]int64{a.choice, tool}
		if tool >= 0 && (a.slots[slot] || len(a.slots) >= maxSlots) {
			continue
		}
		if tool >= 0 {
			if a.slots == nil {
				a.slots = make(map[[2]int64]bool)
			}
			a.slots[slot] = true
		}
		a.toolCalls++
		a.clientCalls++
	}
}

// clientTypes are the output items that the program has to act on.
var clientTypes = map[string]bool{
	"tool_use": true, "function_call": true, "custom_tool_call": true, "local_shell_call": true, "shell_call": true,
	"apply_patch_call": true, "computer_call": true, "mcp_approval_request": true,
}

// call counts an output item if it is a call of a tool, the provider's own tools
// included.
func (a *answer) call(itemType string, all, client *int64) {
	if clientTypes[itemType] {
		*client++
	}
	if clientTypes[itemType] || strings.HasSuffix(itemType, "_tool_use") || strings.HasSuffix(itemType, "_call") {
		*all++
	}
}

// commit ends the event at hand, or the document.
func (a *answer) commit() {
	a.scan.end()
	a.scan.reset()
	if a.event == "response.output_item.done" {
		a.call(a.item, &a.doneItems, &a.doneClient)
	}
	// A whole response lists the calls that events told before.
	a.toolCalls = max(a.toolCalls, a.items, a.doneItems)
	a.clientCalls = max(a.clientCalls, a.client, a.doneClient)
	switch a.event {
	case "message_stop", "response.completed", "response.incomplete":
		a.complete = true
	case "response.failed", "error":
		a.complete, a.failed = a.stream != nil, true
	}
	if a.status != "" && a.finish == "" && a.status != "in_progress" && a.status != "queued" {
		a.finish = a.status
	}
	a.failed = a.failed || a.status == "failed"
	a.event, a.status, a.item, a.items, a.client = "", "", "", 0, 0
	a.started, a.dull = false, false
}
