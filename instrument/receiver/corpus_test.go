package receiver

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// values are JSON values by class, as the suites for JSON parsers have them: those
// that every parser must take, must refuse, and those that one may take or not.
var values = map[string][]string{
	"must be taken": {
		`null`, `true`, `false`, `""`, `{}`, `[]`, `0`, `-0`, `1`, `-1`, `123456789`, `1e5`, `1E5`, `1e+5`, `1e-5`, `0e0`, `0e+1`, `1.5`, `-1.5e-7`, `20e1`, `0.000000000000000000000000001`,
		`"a"`, `"\""`, `"\\"`, `"\/"`, `"\b\f\n\r\t"`, `"\u0061"`, `"\u0000"`, `"\uD834\uDD1E"`, `"\ud83d\ude39\ud83d\udc8d"`, `"\\u0000"`, `"\\a"`, `"\"]"`, `"\u007f"`, `"\uFFFF"`, `"\u2028"`,
		`"é"`, `"€𝄞"`, "\"\u2028\u2029\"", "\"\u007f\"", "\"\ufeff\"", "\"\u202e\"", "\"\U0010fffe\"", "\"\ufdd0\"", `"/* no comment */"`, `"//"`, `" "`, `"\u0022"`, `"new\u000Aline"`,
		`[null, 1, "1", {}]`, `[[]   ]`, `["a"]`, `[1,null,null,null,2]`, `[ ]`, ` [ 1 , 2 ] `, `{"a":"b"}`, `{"":0}`, `{"foo\u0000bar": 42}`, `{"a":[]}`, `{"min": -1.0e+28, "max": 1.0e+28}`, `{ "a" : "b" }`, "{\t\"a\":1}",
		`{"a":{"a":{"a":{}}}}`, `{"x":[{"id": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}], "id": "x"}`, `{"\u0061":1}`, `"` + strings.Repeat("x", 70000) + `"`, strings.Repeat("[", 500) + strings.Repeat("]", 500),
	},
	"must be refused": {
		`nul`, `Null`, `TRUE`, `True`, `fals`, `nan`, `NaN`, `-NaN`, `Inf`, `Infinity`, `-Infinity`, `undefined`, `abc`, `+1`, `01`, `-01`, `-012`, `1.`, `.5`, `-.5`, `2.e3`, `1e`, `1e+`, `1eE2`, `1.0e`, `0.e1`, `- 1`, `-`, `--1`, `++1`, `0x1`, `0x42`, `1_000`, `1 000`, `1a`, `1+2`, `１`, `1ea`, `-foo`, `012`,
		`'a'`, `"a`, `a"`, `"\x00"`, `"\u"`, `"\u1"`, `"\u00A"`, `"\uD834\u"`, `"\uD800\u1x"`, `"\uqqqq"`, `"\a"`, `"\'"`, `"\0"`, `"\`, `"\ "`, "\"\t\"", "\"a\x00a\"", "\"a\x1fa\"", `"\🌀"`, `"\U0061"`, "\"\\\x00\"", "`a`", `“a”`,
		`[`, `]`, `[1`, `[1,`, `[,1]`, `[1,,2]`, `[1,]`, `["",]`, `["x"]]`, `[1:2]`, `[a`, `[3[4]]`, `[*]`, `[1 true]`, `["a" "b"]`, `[-]`, `[1}`, `[][]`, `["a", 4, 1,`,
		`{"a"}`, `{"a":}`, `{"a" 1}`, `{"a":1,}`, `{"a":1,,"b":2}`, `{,"a":1}`, `{a:1}`, `{'a':1}`, `{1:1}`, `{null:1}`, `{"a":1 "b":2}`, `{"a":"b"}#`, `{"a":"b"}/**/`, `{"a":"b"}//`, `{"a":/*x*/1}`, `{"a"::1}`, `{"a","b"}`, `{[:1}`, `{"a":1`, `{"a":1]`, `{"x"::"b"}`, `{🇨🇭}`, `{"a":"a" 123}`, `{"id":0,,,,,}`,
		"\x00", "\x0c1", "\v1", "\u00a01", "\u20601", "1\x00", "\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\xbf\xbf\xbf\"", "\"\xe0\xff\"", "\"\xfc\x83\xbf\xbf\xbf\xbf\"", "\"\xe2\x82\"", "\"\x80\"", "[\"\xe9\"]", "{\"\xb9\":0}", "\xff", "{\xef\xbb\xbf}", "[\x61\xe5]",
		strings.Repeat("[", 100000), strings.Repeat(`{"":`, 50000), strings.Repeat("[1,", 1000), `<null>`, `*`, `;`, `:`, `,`, `@`, `()`, `\u000A1`,
	},
	"may be taken": {
		`1e400`, `-1e9999`, `123123e100000`, `0.4e006699999999999999999999999999999999999999999999999999999999999999999999`, `-123123123123123123123123123123`, `9007199254740993`, `1` + strings.Repeat("0", 5000), `0.` + strings.Repeat("1", 5000),
		`"\uD800"`, `"\uDADA"`, `"\uDd1e\uD834"`, `"\uD800\n"`, `"\ud800abc"`, `{"a":1,"a":2}`, `{"\uDFAA":0}`, `{"a":1,"\u0061":2}`, strings.Repeat("[", 9000) + strings.Repeat("]", 9000), strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000), strings.Repeat("[", 30000) + strings.Repeat("]", 30000),
	},
}

// places are where a value can stand in what a client sends.
var places = map[string]string{
	"unknown field": `{"event":"log","message":"x","v":%s}`,
	"known text":    `{"event":"log","message":"x","span_id":%s}`,
	"counter":       `{"event":"span_update","span_id":"x","tokens":%s}`,
	"time":          `{"event":"span_update","span_id":"x","ts":%s}`,
	"attrs":         `{"event":"span_start","span_id":"x","attrs":%s}`,
	"phase's count": `{"event":"phase","name":"x","libraries":%s}`,
	"before all":    `{"v":%s,"event":"log","message":"x"}`,
	"in a list":     `{"event":"log","message":"x","v":[1,%s,2]}`,
	"in an object":  `{"event":"log","message":"x","v":{"a":{"b":%s}}}`,
}

// Of every value in every place: what no parser takes is rejected, what every
// parser takes is stored, and what is stored can be read by all who know JSON, is
// folded and stamped without changing. The connection goes on after each.
func TestSocketCorpus(t *testing.T) {
	s, r := listen(t)
	type sent struct{ line, class, place string }
	var all []sent
	conn := dial(t, s)
	for class, list := range values {
		for place, around := range places {
			for _, value := range list {
				line := strings.Replace(around, "%s", value, 1)
				all = append(all, sent{line, class, place})
				_, err := fmt.Fprintf(conn, "%s\n", line)
				require.NoError(t, err)
			}
		}
	}
	flush(t, conn)
	events := r.all()
	require.Len(t, events, len(all))
	require.Greater(t, len(all), 1000)
	for i, was := range all {
		ev, about := events[i], fmt.Sprintf("%.200q as %s", was.line, was.place)
		require.True(t, was.line == string(ev.Raw), "%s is kept as it came", about)
		switch was.class {
		case "must be taken":
			assert.Empty(t, ev.Fault, about)
		case "must be refused":
			assert.NotEmpty(t, ev.Fault, about)
		}
		if ev.Fault != "" {
			assert.Less(t, len(ev.Fault), 300, about)
			assert.True(t, utf8.ValidString(ev.Fault), about)
			continue
		}
		ev.Stamp(telemetry.SourceSocket, 7, 1.5)
		var object map[string]json.RawMessage
		if err := json.Unmarshal(ev.Raw, &object); assert.NoError(t, err, about) {
			assert.Equal(t, "7", string(object["recv_ms"]), about)
			assert.Equal(t, `"socket"`, string(object["source"]), about)
		}
		assert.True(t, utf8.Valid(ev.Raw), about)
		_, err := telemetry.Decode(ev.Raw)
		assert.NoError(t, err, about)
	}
}

// What is around an object decides as much as what is in it.
func TestSocketFrames(t *testing.T) {
	const good = `{"event":"log","message":"x"}`
	for in, ok := range map[string]bool{
		good: true, " \t" + good + "\t ": true, good + "\r": true, `{"event" : "log" ,` + "\t" + `"message":"x" }`: true, `{"message":"x","event":"log"}`: true,
		`{"event":"log","message":"x","event":"log"}`: true, `{"\u0065vent":"log","m\u0065ssage":"x"}`: true,
		"\ufeff" + good: false, "\xef\xbb" + good: false, good + "\x00": false, "\x00" + good: false, good + good: false, good + "," + good: false, "[" + good + "]": false,
		"\x1e" + good: false, "data: " + good: false, good + ";": false, good + " x": false, `"` + good + `"`: false, "\u00a0" + good: false, good + "\u2028": false, good + "\v": false,
		strings.Join(strings.Split(good, ""), "\x00"): false, `{"EVENT":"log","message":"x"}`: false, `{"Event":"log","message":"x"}`: false, `{"eſent":"log","message":"x"}`: false,
	} {
		s, r := listen(t)
		send(t, s, in+"\n"+start("after")+"\n")
		events := r.all()
		require.Len(t, events, 2, "%q", in)
		assert.Equal(t, ok, events[0].Fault == "", "%q: %s", in, events[0].Fault)
		assert.Equal(t, "after", events[1].SpanID)
	}
}
