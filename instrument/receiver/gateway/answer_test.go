package gateway

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testdata = "../../../testdata/gateway"

func body(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testdata, name))
	require.NoError(t, err)
	return b
}

// facts are what is known of an answer, as expected.json has it.
type facts struct {
	ID          string `json:"id"`
	Model       string `json:"model"`
	Finish      string `json:"finish"`
	Input       int64  `json:"input"`
	Output      int64  `json:"output"`
	Cached      int64  `json:"cached"`
	ToolCalls   int64  `json:"tool_calls"`
	ClientCalls int64  `json:"client_calls"`
	Failed      bool   `json:"failed"`
	Complete    bool   `json:"complete"`
	ErrorType   string `json:"error_type"`
	ErrorCode   string `json:"error_code"`
}

func factsOf(r *reply) facts {
	c := r.counters()
	return facts{
		ID: r.id, Model: r.model, Finish: r.finish, Input: c.Input.N, Output: c.Output.N, Cached: c.Cached.N,
		ToolCalls: r.toolCalls, ClientCalls: r.clientCalls, Failed: r.failed, Complete: r.complete,
		ErrorType: r.errorType, ErrorCode: r.errorCode,
	}
}

// read gives what is known of an answer that comes in pieces.
func read(stream bool, pieces ...[]byte) facts {
	a := newAnswer(stream)
	for _, p := range pieces {
		a.write(p)
	}
	a.end()
	return factsOf(&a.reply)
}

func TestAnswersInEveryChunking(t *testing.T) {
	var expected map[string]facts
	require.NoError(t, json.Unmarshal(body(t, "expected.json"), &expected))
	require.Len(t, expected, 10)
	for name, want := range expected {
		t.Run(name, func(t *testing.T) {
			b, stream := body(t, name), strings.HasSuffix(name, ".sse")
			assert.Equal(t, want, read(stream, b), "in one piece")
			for i := range b {
				require.Equal(t, want, read(stream, b[:i], b[i:]), "cut at %d", i)
			}
			require.Equal(t, want, read(stream, bytes.SplitAfter(b, nil)...), "byte by byte")
			for seed := range uint64(50) {
				random := rand.New(rand.NewPCG(seed, 1))
				var pieces [][]byte
				for rest := b; len(rest) > 0; {
					n := min(1+random.IntN(40), len(rest))
					pieces, rest = append(pieces, rest[:n]), rest[n:]
				}
				require.Equal(t, want, read(stream, pieces...), "seed %d", seed)
			}
		})
	}
}

func TestUsageOfOtherShapes(t *testing.T) {
	for _, tt := range []struct {
		name, body                    string
		input, output, cached, tokens int64
		cost                          float64
	}{
		{name: "LiteLLM says OpenAI's shape with Anthropic's keys in it",
			body:  `{"usage":{"prompt_tokens":110,"completion_tokens":5,"cache_read_input_tokens":100,"cache_creation_input_tokens":0,"prompt_tokens_details":{"cached_tokens":100}}}`,
			input: 110, output: 5, cached: 100},
		{name: "DeepSeek", body: `{"usage":{"prompt_tokens":50,"prompt_cache_hit_tokens":32,"prompt_cache_miss_tokens":18,"completion_tokens":1}}`,
			input: 50, output: 1, cached: 32},
		{name: "reasoning in the total alone", body: `{"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":40}}`,
			input: 10, output: 5, tokens: 40},
		{name: "Groq's stream", body: `{"x_groq":{"usage":{"prompt_tokens":7,"completion_tokens":3}}}`, input: 7, output: 3},
		{name: "OpenRouter's cost", body: `{"usage":{"prompt_tokens":7,"completion_tokens":3,"cost":0.00125}}`, input: 7, output: 3, cost: 0.00125},
		{name: "keys that are written with escapes", body: `{"us\u0061ge":{"prompt\u005ftokens":7}}`, input: 7},
		{name: "numbers that nobody believes", body: `{"usage":{"prompt_tokens":-7,"completion_tokens":1e300,"total_tokens":99999999999999999999}}`},
		{name: "floats and spaces", body: " {\n\"usage\" : { \"prompt_tokens\" : 7.0 , \"completion_tokens\":3\t}}", input: 7, output: 3},
		{name: "other types", body: `{"usage":{"prompt_tokens":"7","completion_tokens":null,"total_tokens":[1]},"id":5,"choices":{"x":1}}`},
		{name: "usage elsewhere", body: `{"metadata":{"usage":{"prompt_tokens":7}},"choices":[{"message":{"content":"{\"usage\":{\"prompt_tokens\":8}}","usage":{"prompt_tokens":9}}}]}`},
		{name: "a list", body: `[{"usage":{"prompt_tokens":7}}]`},
		{name: "two documents", body: `{"usage":{"prompt_tokens":7}}{"usage":{"prompt_tokens":8}}`, input: 7},
		{name: "unclosed", body: `{"usage":{"prompt_tokens":7,"completion_tokens":1`, input: 7, output: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAnswer(false)
			a.write([]byte(tt.body))
			a.end()
			c := a.reply.counters()
			assert.Equal(t, []int64{tt.input, tt.output, tt.cached, tt.tokens}, []int64{c.Input.N, c.Output.N, c.Cached.N, c.Tokens.N})
			assert.InDelta(t, tt.cost, c.CostUSD.F, 1e-12)
		})
	}
}

func TestToolCallsAreCountedOnce(t *testing.T) {
	call := func(choice, index int, id string) string {
		b, _ := json.Marshal(map[string]any{"choices": []any{map[string]any{"index": choice, "delta": map[string]any{
			"tool_calls": []any{map[string]any{"index": index, "id": id}}}}}})
		return "data: " + string(b) + "\n\n"
	}
	for _, tt := range []struct {
		name, stream string
		want         int64
	}{
		{"an id in every part", call(0, 0, "a") + call(0, 0, "a") + call(0, 1, "b"), 2},
		{"two choices", call(0, 0, "a") + call(1, 0, "b"), 2},
		{"no index", `data: {"choices":[{"delta":{"tool_calls":[{"id":"a"},{"id":"b"}]}}]}` + "\n\n", 2},
	} {
		a := newAnswer(true)
		a.write([]byte(tt.stream))
		a.end()
		assert.Equal(t, tt.want, a.toolCalls, tt.name)
	}
	a := newAnswer(false)
	a.write([]byte(`{"choices":[{"message":{"tool_calls":[{"function":{"name":"a"}}]}}]}`))
	a.end()
	assert.EqualValues(t, 1, a.toolCalls, "no id at all")
}

// What others wrote is kept only where it can be no sentence.
func TestOnlyWordsAreKept(t *testing.T) {
	long := strings.Repeat("a", 200)
	for _, value := range []string{"two words", "línea", "a\nb", "<b>", "sk-proj-abcdefghijklmnop", long, `a"b`, "\x1b[31m"} {
		quoted, err := json.Marshal(value)
		require.NoError(t, err)
		doc := strings.ReplaceAll(`{"id":X,"model":X,"stop_reason":X,"error":{"type":X,"code":X}}`, "X", string(quoted))
		assert.Equal(t, facts{Failed: true}, read(false, []byte(doc)), value)
	}
	assert.Equal(t, "claude-opus-4-5[1m]", read(false, []byte(`{"model":"claude-opus-4-5[1m]"}`)).Model)
}

func TestEventStreamLineEnds(t *testing.T) {
	const event = `{"usage":{"prompt_tokens":7}}`
	for _, stream := range []string{
		"data: " + event + "\n\n", "data:" + event + "\r\r", "data: " + event + "\r\n\r\n", "data: " + event, "\n\n\ndata: " + event + "\n\n",
		"id: 1\nevent: data\ndata: {\"usage\":\ndata: {\"prompt_tokens\":7}}\nretry: 5\n\n", "data\ndata: " + event + "\n\n",
		": data: {\"usage\":{\"prompt_tokens\":9}}\ndatas: {\"usage\":{\"prompt_tokens\":9}}\ndat: {}\n\ndata: " + event + "\n\n",
	} {
		for i := range len(stream) {
			assert.EqualValues(t, 7, read(true, []byte(stream[:i]), []byte(stream[i:])).Input, "%q at %d", stream, i)
		}
	}
}

// The scanner needs no memory for what nobody looks for.
func TestScannerIsFrugal(t *testing.T) {
	big := []byte(`{"choices":[{"message":{"content":"` + strings.Repeat(`x\n\"`, 1<<20) + `"}}],"deep":` +
		strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `,"` + strings.Repeat("k", 1<<20) + `":1,"usage":{"prompt_tokens":7}}`)
	a := newAnswer(false)
	for rest := big; len(rest) > 0; {
		n := min(32<<10, len(rest))
		a.write(rest[:n])
		rest = rest[n:]
	}
	a.end()
	assert.EqualValues(t, 7, a.prompt.N)
	assert.LessOrEqual(t, cap(a.scan.kept), 4*maxWord)
	assert.LessOrEqual(t, cap(a.scan.stack), 16)
	assert.Empty(t, a.slots)
}

func TestSpecial(t *testing.T) {
	for n := range 40 {
		plain := bytes.Repeat([]byte{0xa2}, n) // a quote but for its high bit
		assert.Equal(t, n, special(plain))
		for i := range n {
			for _, c := range []byte{'"', '\\'} {
				for j := i; j < n; j++ {
					b := bytes.Clone(plain)
					b[j], b[i] = '"', c
					assert.Equal(t, i, special(b))
				}
			}
		}
	}
	for c := range 256 {
		want := 10
		if c == '"' || c == '\\' {
			want = 0
		}
		assert.Equal(t, want, special(bytes.Repeat([]byte{byte(c)}, 10)), c)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"openai-chat.json", "openai-chat.sse", "anthropic-messages.sse", "openai-responses.sse", "anthropic-messages.json"} {
		f.Add(body(f, name), 7)
	}
	f.Add([]byte(`{"a":"\`), 1)
	f.Add([]byte("data: [[[}}}\r\n\r\ndata:\"\\u12"), 3)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		size = max(1, size%64)
		for _, stream := range []bool{false, true} {
			whole := read(stream, b)
			var pieces [][]byte
			for rest := b; len(rest) > 0; {
				n := min(size, len(rest))
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			assert.Equal(t, whole, read(stream, pieces...))
			assert.GreaterOrEqual(t, whole.Input, int64(0))
		}
		// A valid document gives what encoding/json finds in it.
		var doc struct {
			Usage struct{ Prompt_tokens json.RawMessage }
		}
		if json.Valid(b) && json.Unmarshal(b, &doc) == nil && bytes.Count(b, []byte("prompt_tokens")) == 1 && bytes.Count(b, []byte("usage")) == 1 &&
			bytes.Contains(b, []byte(`"usage"`)) && bytes.Contains(b, []byte(`"prompt_tokens"`)) && !bytes.ContainsAny(b, "\\") {
			var n int64
			if json.Unmarshal(doc.Usage.Prompt_tokens, &n) == nil && n > 0 && n < 1<<50 {
				a := newAnswer(false)
				a.write(b)
				a.end()
				assert.Equal(t, n, a.prompt.N)
			}
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	doc := []byte(`{"id":"a","choices":[{"message":{"content":"` + strings.Repeat(`func main() {\n\tfmt.Println(\"hello\")\n}\n`, 2000) + `"}}],"usage":{"prompt_tokens":7}}`)
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		read(false, doc)
	}
}
