package telemetry

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDecode(t *testing.T) {
	e, err := Decode([]byte(` {"event":"span_end","span_id":"lib-\u0065ncoding","parent":null,"status":"ok","duration_ms":14820,"tokens":42100,"tool_uses":31,
		"input_tokens":4e4,"cost_usd":0.25,"ts":1712534415.001,"attrs":{"a":{"b":"}"}},"mine":[1,{"x":"]"}]}` + "\r\n"))
	require.NoError(t, err)
	assert.Equal(t, SpanEnd, e.Type)
	assert.Equal(t, "lib-encoding", e.SpanID)
	assert.Empty(t, e.Parent)
	assert.Equal(t, F(14820), e.DurationMS)
	assert.Equal(t, N(42100), e.Tokens)
	assert.Equal(t, N(40000), e.Input)
	assert.Equal(t, N(31), e.ToolUses)
	assert.Equal(t, F(.25), e.CostUSD)
	assert.JSONEq(t, `{"a":{"b":"}"}}`, string(e.Attrs))
	micros, ok := e.Micros()
	assert.True(t, ok)
	assert.Equal(t, int64(1712534415001000), micros)
	assert.False(t, e.Output.OK)
}

func TestDecodePhaseCounts(t *testing.T) {
	e, err := Decode([]byte(`{"event":"phase","name":"library-depth-0-complete","libraries":9,"wall_ms":68400,"note":"x","ts":1712534400.999}`))
	require.NoError(t, err)
	assert.Equal(t, map[string]float64{"libraries": 9}, e.Counts)
	assert.Equal(t, F(68400), e.WallMS)
}

func TestDecodeRefuses(t *testing.T) {
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	for line, want := range map[string]string{
		"":                                 "empty",
		"   ":                              "empty",
		"null":                             "not a JSON object",
		"[1]":                              "not a JSON object",
		`"span_start"`:                     "not a JSON object",
		"GET / HTTP/1.1":                   "not a JSON object",
		"{":                                "not valid JSON",
		`{"event":"span_start"`:            "not valid JSON",
		`{"event":"log","message":"x"} {}`: "not valid JSON",
		`{'event':'log'}`:                  "not valid JSON",
		`{"event":"log","message":NaN}`:    "not valid JSON",
		`{"event":"log","message":"x",}`:   "not valid JSON",
		"{\"event\":\"log\",\"message\":\"\x00\"}": "not valid JSON",
		"{\"event\":\"log\",\"message\":\"\xff\"}": "not valid UTF-8",
		"\xef\xbb\xbf{\"event\":\"x\"}":            "not a JSON object",
		`{"event":"x","deep":` + deep + `}`:        "not valid JSON",
		`{}`:                                       `no "event"`,
		`{"event":7}`:                              `no "event"`,
		`{"EVENT":"log","message":"x"}`:            `no "event"`,
		`{"event":"span_start"}`:                   `span_start without "span_id"`,
		`{"event":"span_start","span_id":""}`:      `span_start without "span_id"`,
		`{"event":"span_start","span_id":5}`:       `span_start without "span_id"`,
		`{"event":"phase"}`:                        `phase without "name"`,
		`{"event":"artifact"}`:                     `artifact without "path"`,
		`{"event":"log"}`:                          `log without "message"`,
	} {
		_, err := Decode([]byte(line))
		require.Error(t, err, "%.60s", line)
		assert.Contains(t, err.Error(), want, "%.60s", line)
	}
}

func TestDecodeTakesOddThings(t *testing.T) {
	for _, line := range []string{
		`{"event":"unheard_of","anything":1}`,
		`{"event":"span_start","span_id":"a","parent":7,"kind":[],"tokens":"12","ts":"now","attrs":5,"__proto__":{}}`,
		`{"event":"span_start","span_id":"a","tokens":1e999,"cost_usd":-1e400}`,
		`{"event":"span_start","span_id":"\ud800"}`,
		`{"event":"span_start","span_id":" "}`,
	} {
		_, err := DecodeClient([]byte(line))
		assert.NoError(t, err, line)
	}
	e, err := Decode([]byte(`{"event":"span_start","EVENT":"phase","span_id":"a","Span_ID":"b","span_id":"c"}`))
	require.NoError(t, err)
	assert.Equal(t, SpanStart, e.Type, "keys match exactly")
	assert.Equal(t, "c", e.SpanID, "the last of equal keys")
	e, _ = Decode([]byte(`{"event":"span_update","span_id":"a","tokens":9007199254740993,"tool_uses":-1,"input_tokens":9007199254740992,"output_tokens":1.9}`))
	assert.False(t, e.Tokens.OK)
	assert.False(t, e.ToolUses.OK)
	assert.Equal(t, N(MaxCount), e.Input)
	assert.Equal(t, N(1), e.Output)
}

func TestDecodeClientRefuses(t *testing.T) {
	for line, want := range map[string]string{
		`{"event":"span_start","span_id":"a","source":"otlp"}`: `"source" is written by obsrun`,
		`{"event":"span_start","span_id":"a","recv_ms":null}`:  `"recv_ms" is written by obsrun`,
		`{"event":"span_stalled","span_id":"a"}`:               "span_stalled is written by obsrun",
		`{"event":"span_resumed","span_id":"a"}`:               "span_resumed is written by obsrun",
	} {
		_, err := DecodeClient([]byte(line))
		assert.ErrorContains(t, err, want)
		_, err = Decode([]byte(line))
		assert.NoError(t, err, "but it may stand in a journal")
	}
	frame := len(`{"event":"x","y":""}`)
	_, err := DecodeClient([]byte(`{"event":"x","y":"` + strings.Repeat("y", MaxLine-frame) + `"}`))
	assert.NoError(t, err)
	_, err = DecodeClient([]byte(`{"event":"x","y":"` + strings.Repeat("y", MaxLine-frame+1) + `"}`))
	assert.ErrorContains(t, err, "over the limit")
}

func TestStamp(t *testing.T) {
	for came, want := range map[string]string{
		`{"event":"x"}`:                    `{"event":"x","ts":7.25,"source":"socket","recv_ms":12}`,
		`{"event":"x" }`:                   `{"event":"x","ts":7.25,"source":"socket","recv_ms":12}`,
		`{"event":"x","ts":3}`:             `{"event":"x","ts":3,"source":"socket","recv_ms":12}`,
		`{"event":"x","ts":"odd"}`:         `{"event":"x","ts":"odd","source":"socket","recv_ms":12}`,
		"{\"event\":\"x\",\r\n \"a\":1}\r": `{"event":"x","a":1,"ts":7.25,"source":"socket","recv_ms":12}`,
	} {
		e, err := DecodeClient([]byte(came))
		require.NoError(t, err)
		e.Stamp(SourceSocket, 12, 7.25)
		assert.Equal(t, want, string(e.Line()))
		_, err = Decode(e.Line())
		assert.NoError(t, err)
	}
}

// An event that is made here is what its line says.
func TestLineDecodesToTheSame(t *testing.T) {
	for _, e := range []Event{
		{Type: SpanStart, SpanID: "a", Parent: "p", Component: "c", Name: "<n>\u2028 \"ü\"", Kind: "k", Phase: "ph", Attrs: Attrs(map[string]any{"x": 1})},
		{Type: SpanEnd, SpanID: "a", Status: "error", Error: "line\nbreak", CallID: "r1", TokensScope: "self", DurationMS: F(1.5),
			Counters: Counters{Tokens: N(1), Input: N(2), Output: N(3), Cached: N(0), ToolUses: N(5), CostUSD: F(1e-7)}},
		{Type: Phase, Name: "x", WallMS: F(7), Counts: map[string]float64{"b": 2, "a": 1.25}},
		{Type: SpanStalled, SpanID: "a", IdleMS: F(120000), Evidence: json.RawMessage(`{"cpu":0}`)},
		{Type: Log, Message: "m", Level: "warn", TS: F(1712534400.123)},
		{Type: Artifact, Path: "p", Kind: "analysis"},
	} {
		e.Stamp("burr", 3, 1712534400.5)
		got, err := Decode(e.Raw)
		require.NoError(t, err, string(e.Raw))
		got.reserved = ""
		assert.True(t, reflect.DeepEqual(e, got), "%s\n%+v\n%+v", e.Raw, e, got)
	}
	e := Event{Type: Log, Message: "half\xff"}
	assert.True(t, json.Valid(e.Line()))
}

func TestMicros(t *testing.T) {
	for ts, want := range map[float64]int64{0: 0, 12.5: 12_500_000, 1712534400.123: 1712534400123000, 1712534400123: 1712534400123000, 1712534400123456: 1712534400123456, 1.7125344e18: 1712534400000000} {
		got, ok := (&Event{TS: F(ts)}).Micros()
		assert.True(t, ok)
		assert.Equal(t, want, got, "%f", ts)
	}
	for _, ts := range []Float{{}, F(-1), F(1e21)} {
		_, ok := (&Event{TS: ts}).Micros()
		assert.False(t, ok)
	}
}

func TestSpecsAreDecoded(t *testing.T) {
	for _, spec := range Specs() {
		assert.True(t, spec.Type.Known())
		assert.NotEmpty(t, spec.Meaning)
		for _, name := range append(append([]string{}, spec.Required...), spec.Optional...) {
			_, read := new(Event).slot(name)
			assert.True(t, read, "%s names %s, a field that nobody reads", spec.Type, name)
		}
	}
	assert.False(t, Type("other").Known())
	assert.True(t, IsAgent("library-analysis"))
	assert.False(t, IsAgent(""))
}

func TestAttrs(t *testing.T) {
	assert.Nil(t, Attrs(5))
	assert.Nil(t, Attrs(map[string]any{"f": func() {}}))
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"event":"span_end","span_id":"a","tokens":1,"attrs":{"a":[1,"\"}"]},"ts":1}`))
	f.Add([]byte(`{"event":"phase","name":"x","n":-1e5 , "m" : true}`))
	f.Add([]byte("{\"event\":\"log\",\"message\":\"\\ud83d\\ude00 \u00fc \xff\",\"a\":[{},[],null,-0.5E+3,\"\\u00e\"]}"))
	f.Add([]byte(`{"a":01,"b":1.,"c":+1,"d":.5,"e":tru}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := Decode(line)
		trimmed := bytes.TrimSpace(line)
		valid := len(trimmed) > 0 && trimmed[0] == '{' && utf8.Valid(trimmed) && json.Valid(trimmed)
		if scanned := (members{b: trimmed}); true {
			for scanned.next() {
			}
			if len(trimmed) <= 2*MaxLine && scanned.valid != valid {
				t.Fatalf("valid %v, not %v: %q", scanned.valid, valid, trimmed)
			}
		}
		if err != nil {
			return
		}
		// Keys and values are those that encoding/json finds.
		var want map[string]json.RawMessage
		if err := json.Unmarshal(bytes.TrimSpace(line), &want); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]json.RawMessage)
		for m := (members{b: e.Raw}); m.next(); {
			got[text(m.key, m.plainKey)] = m.value
		}
		if len(got) != len(want) {
			t.Fatalf("%d members, not %d", len(got), len(want))
		}
		for key, value := range want {
			if string(bytes.TrimSpace(got[key])) != string(value) {
				t.Fatalf("%q is %s, not %s", key, got[key], value)
			}
		}
		// What it was decoded from may be overwritten once it is stamped.
		mine := bytes.Clone(line)
		if err := e.Decode(mine); err != nil {
			t.Fatal(err)
		}
		unmoved, _ := Decode(bytes.Clone(line))
		e.Stamp("socket", 1, 2)
		if !json.Valid(e.Raw) || bytes.ContainsAny(e.Raw, "\r\n") {
			t.Fatalf("stamped: %q", e.Raw)
		}
		for i := range mine {
			mine[i] = 'x'
		}
		unmoved.Raw, unmoved.Source, unmoved.RecvMS, unmoved.TS = e.Raw, e.Source, e.RecvMS, e.TS
		if !reflect.DeepEqual(e, unmoved) {
			t.Fatalf("stamped it is\n%+v, not\n%+v", e, unmoved)
		}
	})
}

// Numbers are those that strconv reads, and objects merge as encoding/json writes a map.
func TestShortWays(t *testing.T) {
	for _, text := range []string{"0", "-0", "7", "1712534415.001", "0.1", "0.25", "123456789012345.6", "9007199254740993", "9007199254740992", "1.7976931348623157", "0.0000000000000001", "12345678901234567890", "1e3", "-1.5", "0.30000000000000004"} {
		want, err := strconv.ParseFloat(text, 64)
		require.NoError(t, err)
		assert.Equal(t, F(want), number([]byte(text)), text)
	}
	for _, c := range [][2]string{
		{`{"b":1,"a":"x"}`, `{"b":[2, 3],"c":null}`}, {`{"a":{"z":1}}`, `{"a":2}`}, {`{}`, `{"a":"<&>"}`}, {`{"a":1}`, `{}`},
		{`{"\u0061":1}`, `{"a":2}`}, {`{ "a" : 1 }`, `{"b":"two words"}`}, {`{"ab":1,"a":2}`, `{"a b":3}`}, {`{"a":1,"a":2}`, `{"é":1}`},
	} {
		var a, b map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(c[0]), &a))
		require.NoError(t, json.Unmarshal([]byte(c[1]), &b))
		maps.Copy(a, b)
		want, err := json.Marshal(a)
		require.NoError(t, err)
		got, ok := MergeObjects([]byte(c[0]), []byte(c[1]))
		assert.True(t, ok)
		assert.Equal(t, string(want), string(got))
	}
	_, ok := MergeObjects([]byte(`{"a":1}`), []byte(`[]`))
	assert.False(t, ok)
}

func BenchmarkDecode(b *testing.B) {
	line := []byte(`{"event":"span_update","span_id":"lib-encoding-0123456","tokens":42100,"tool_uses":31,"message":"reading the encoder","attrs":{"model":"m"},"ts":1712534415.001,"source":"socket","recv_ms":14500}`)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := Decode(line); err != nil {
			b.Fatal(err)
		}
	}
}
