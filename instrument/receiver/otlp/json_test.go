package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
)

var idField = regexp.MustCompile(`("(?:traceId|spanId|parentSpanId)":\s*")([^"]*)"`)

// idsToHex makes OTLP/JSON of the protobuf mapping's JSON, the other way round.
func idsToHex(t *testing.T, b []byte) []byte {
	t.Helper()
	return idField.ReplaceAllFunc(b, func(match []byte) []byte {
		parts := idField.FindSubmatch(match)
		raw, err := base64.StdEncoding.DecodeString(string(parts[2]))
		require.NoError(t, err)
		return append(append(parts[1], hex.EncodeToString(raw)...), '"')
	})
}

func TestJSONDeviations(t *testing.T) {
	const id = "0102030405060708090a0b0c0d0e0f10"
	for name, body := range map[string]string{
		"as written":        `{"traceId":"` + id + `","spanId":"a1a2a3a4a5a6a7a8","startTimeUnixNano":"1001000000000","endTimeUnixNano":"1002000000000","kind":3,"attributes":[{"key":"gen_ai.usage.input_tokens","value":{"intValue":"42"}}]}`,
		"upper case":        `{"traceId":"` + strings.ToUpper(id) + `","spanId":"A1A2A3A4A5A6A7A8","startTimeUnixNano":1001000000000,"endTimeUnixNano":1002000000000,"attributes":[{"key":"gen_ai.usage.input_tokens","value":{"intValue":42}}]}`,
		"spaces":            `{ "traceId" : "` + id + `" , "spanId"` + "\n\t:\r" + ` "a1a2a3a4a5a6a7a8", "startTimeUnixNano":"1001000000000","endTimeUnixNano":"1002000000000","attributes":[{"key":"gen_ai.usage.input_tokens","value":{"doubleValue":42}}]}`,
		"unknown fields":    `{"spanId":"a1a2a3a4a5a6a7a8","new":{"traceId":"zz","a":[1,{"spanId":null}]},"traceId":"` + id + `","startTimeUnixNano":"1001000000000","endTimeUnixNano":"1002000000000","status":{"code":1,"odd":true},"attributes":[{"key":"gen_ai.usage.input_tokens","value":{"intValue":"42"},"k":1}]}`,
		"snake case":        `{"trace_id":"` + id + `","span_id":"a1a2a3a4a5a6a7a8","start_time_unix_nano":"1001000000000","end_time_unix_nano":"1002000000000","attributes":[{"key":"gen_ai.usage.input_tokens","value":{"int_value":"42"}}]}`,
		"ids in attributes": `{"traceId":"` + id + `","spanId":"a1a2a3a4a5a6a7a8","startTimeUnixNano":"1001000000000","endTimeUnixNano":"1002000000000","attributes":[{"key":"spanId","value":{"stringValue":"\"spanId\":\"ff\""}},{"key":"gen_ai.usage.input_tokens","value":{"intValue":"42"}}]}`,
		"null fields":       `{"traceId":"` + id + `","spanId":"a1a2a3a4a5a6a7a8","parentSpanId":"","startTimeUnixNano":"1001000000000","endTimeUnixNano":"1002000000000","status":null,"links":null,"attributes":[{"key":"gen_ai.usage.input_tokens","value":{"intValue":"42"}},{"key":"x","value":null},{"key":"y"}]}`,
	} {
		r, j := newReceiver()
		w := post(r, "/v1/traces", jsonType, "", []byte(`{"resourceSpans":[{"resource":null,"scopeSpans":[{"scope":{"name":"s"},"spans":[`+body+`]}],"schemaUrl":"u"}],"more":[]}`))
		require.Equal(t, 200, w.Code, "%s: %s", name, w.Body)
		events := j.of("a1a2a3a4a5a6a7a8")
		require.Len(t, events, 2, name)
		assert.Equal(t, 1001.0, events[0].TS.F, name)
		assert.Equal(t, "llm", events[0].Kind, name)
		assert.EqualValues(t, 42, events[1].Input.N, name)
	}
}

// What is no id costs its span.
func TestOddIDs(t *testing.T) {
	for in, want := range map[string]string{
		`{"spanId":"00ff"}`:             "\x12\x02\x00\xff",
		`{"spanId":"0"}`:                "\x12\x01\x00",
		`{"spanId":"\u0030"}`:           "\x12\x01\x00",
		`{"spanId":""}`:                 "\x12\x00",
		`{"spanId":null,"a":"spanId"}`:  "",
		`{"a\"spanId":"00ff","b":"\\"}`: "",
	} {
		out, err := transcode(in, jsonFields{"spanId": {2, jsonID, nil}})
		require.NoError(t, err, in)
		assert.Equal(t, want, out, in)
	}
}

// What is decoded of either format is the same.
func TestJSONAndProtobufAgree(t *testing.T) {
	spans := append(claudeSpans(), sp(77, 1, "x", 1, 2, "a", []string{"b"}, "c", 1.5, "d", true))
	spans[0].Status = &trace.Status{Code: trace.Status_STATUS_CODE_ERROR, Message: "m"}
	data := tracesData(spans...)
	a, one := newReceiver()
	require.Equal(t, 200, post(a, "/", protobufType, "", encode(t, data)).Code)
	b, two := newReceiver()
	require.Equal(t, 200, post(b, "/", jsonType, "", toJSON(t, data)).Code)
	assert.Equal(t, one.all(), two.all())
	assert.NotEmpty(t, one.all())
}
