package otlp

import (
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

func TestFields(t *testing.T) {
	all := protowire.AppendTag(nil, 1, protowire.VarintType)
	all = protowire.AppendVarint(all, math.MaxUint64)
	all = protowire.AppendTag(all, 2, protowire.Fixed64Type)
	all = protowire.AppendFixed64(all, 1<<63+5)
	all = protowire.AppendTag(all, 3, protowire.Fixed32Type)
	all = protowire.AppendFixed32(all, 7)
	all = protowire.AppendTag(all, maxField, protowire.BytesType)
	all = protowire.AppendBytes(all, []byte(strings.Repeat("x", 300)))
	all = append(all, 0x22, 0x81, 0x80, 0x80, 0x00, 'y') // a length that is longer than it need be
	f := fields{rest: string(all)}
	require.True(t, f.next())
	assert.Equal(t, []uint64{tagOf(1, varintType), math.MaxUint64}, []uint64{f.tag, f.num})
	require.True(t, f.next())
	assert.Equal(t, []uint64{tagOf(2, fixed64), 1<<63 + 5}, []uint64{f.tag, f.num})
	require.True(t, f.next())
	require.True(t, f.next())
	assert.Equal(t, tagOf(maxField, bytesType), f.tag)
	assert.Len(t, f.data, 300)
	require.True(t, f.next())
	assert.Equal(t, "y", f.data)
	assert.False(t, f.next())
	assert.NoError(t, f.err())

	for name, message := range map[string]string{
		"a tag alone": "\x08", "half a fixed64": "\x09\x01\x02", "half a fixed32": "\x0d\x01", "a length beyond the end": "\x0a\x02x", "no length": "\x0a",
		"field 0": "\x02\x00", "a field number beyond all": "\x80\x80\x80\x80\x80\x01\x00", "a number of eleven bytes": "\x08" + strings.Repeat("\xff", 10) + "\x01",
		"a number beyond 64 bits": "\x08" + strings.Repeat("\xff", 9) + "\x02", "a group": "\x0b\x0c", "the end of a group": "\x0c", "wire type 6": "\x0e", "wire type 7": "\x0f",
		"a length beyond all": "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "an endless tag": strings.Repeat("\x80", 20),
	} {
		f := fields{rest: message}
		for f.next() {
		}
		assert.Error(t, f.err(), name)
		_, err := decode(traces, message, false)
		assert.Error(t, err, name)
	}
}

// Protobuf's own library and this one mean the same by a body: what it writes anew, in
// the order of numbers, without what it does not know, gives the same events.
func TestAnyOrderOfFields(t *testing.T) {
	known := encode(t, tracesData(claudeSpans()...))
	var span []byte // the parent, an attribute, the name, the ids, the times, and the name once more
	span = protowire.AppendBytes(protowire.AppendTag(span, 4, protowire.BytesType), []byte{0, 0, 0, 0, 0, 0, 0, 1})
	span = protowire.AppendBytes(protowire.AppendTag(span, 9, protowire.BytesType), []byte("\x12\x06\x0a\x04chat\x0a\x15gen_ai.operation.name"))
	span = protowire.AppendString(protowire.AppendTag(span, 5, protowire.BytesType), "first")
	span = protowire.AppendBytes(protowire.AppendTag(span, 2, protowire.BytesType), []byte{9, 9, 9, 9, 9, 9, 9, 9})
	span = protowire.AppendBytes(protowire.AppendTag(span, 1, protowire.BytesType), []byte(strings.Repeat("\x07", 16)))
	span = protowire.AppendFixed64(protowire.AppendTag(span, 8, protowire.Fixed64Type), 1009*second)
	span = protowire.AppendVarint(protowire.AppendTag(span, 8, protowire.VarintType), 1) // of another type: unknown
	span = protowire.AppendFixed64(protowire.AppendTag(span, 7, protowire.Fixed64Type), 1001*second)
	span = protowire.AppendVarint(protowire.AppendTag(span, 1000, protowire.VarintType), 1)
	span = protowire.AppendString(protowire.AppendTag(span, 5, protowire.BytesType), "last")
	nest := func(b []byte, number protowire.Number) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), b)
	}
	resource := nest(nest(encode(t, kv("service.name", "svc")[0]), 1), 1)
	odd := nest(append(nest(nest(span, 2), 2), resource...), 1)
	for _, body := range [][]byte{known, odd, append(odd, known...)} {
		var data trace.TracesData
		require.NoError(t, proto.Unmarshal(body, &data))
		a, as := newReceiver()
		require.Equal(t, 200, post(a, "/v1/traces", protobufType, "", body).Code)
		b, bs := newReceiver()
		given(b, &data)
		assert.Equal(t, bs.all(), as.all())
		assert.NotEmpty(t, as.all())
	}
	r, j := newReceiver()
	post(r, "/v1/traces", protobufType, "", odd)
	events := j.of("0909090909090909")
	require.Len(t, events, 2)
	assert.Equal(t, []any{"last", "llm", sid(1), 1001.0, 1009.0}, []any{events[0].Name, events[0].Kind, events[0].Parent, events[0].TS.F, events[1].TS.F})
	assert.JSONEq(t, `{"operation":"chat","service":"svc"}`, string(events[0].Attrs))
}

// Values that nest without end cost neither the stack nor the batch.
func TestDeepValues(t *testing.T) {
	const levels = 100_000
	value := []byte("x\x01\x0a") // backwards, as lengths are known from within
	for range levels {
		for _, tag := range []byte{0x0a, 0x2a} { // of an ArrayValue, and of an AnyValue
			size := protowire.AppendVarint(nil, uint64(len(value)))
			slices.Reverse(size)
			value = append(append(value, size...), tag)
		}
	}
	slices.Reverse(value)
	attribute := protowire.AppendBytes(append([]byte("\x0a\x15gen_ai.operation.name"), 0x12), value)
	span := protowire.AppendBytes(append(encode(t, sp(1, 0, "work", 1, 2)), 0x4a), attribute)
	body := span
	for _, number := range []protowire.Number{2, 2, 1} {
		body = protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), body)
	}
	r, j := newReceiver()
	require.Equal(t, 200, post(r, "/v1/traces", protobufType, "", body).Code)
	assert.Len(t, j.of(sid(1)), 2)

	for depth, want := range map[int]int{1000: 200, 100_000: 400} { // beyond what encoding/json goes into
		inJSON := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"07070707070707070707070707070707","spanId":"0000000000000001","attributes":[{"key":"a","value":` +
			strings.Repeat(`{"arrayValue":{"values":[`, depth) + strings.Repeat(`]}}`, depth) + `}]}]}]}]}`
		r, j := newReceiver()
		assert.Equal(t, want, post(r, "/v1/traces", jsonType, "", []byte(inJSON)).Code, depth)
		assert.Len(t, j.all(), map[int]int{200: 1, 400: 0}[want])
	}
}

// Events that wait for a slow disk do not hold on to bodies of which they are a small
// part.
func TestSparseBodies(t *testing.T) {
	r, j := newReceiver()
	record := encode(t, logsData(lr("api_request", 3, 1, "input_tokens", "10", "request_id", "req_00000002", "prompt", strings.Repeat("x", 4<<20))))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range byte(20) {
		span := sp(i+1, 0, "work", 1, 2, "gen_ai.operation.name", "chat", "gen_ai.response.id", "response-1", "gen_ai.input.messages", strings.Repeat("x", 4<<20))
		require.Equal(t, 200, post(r, "/v1/traces", protobufType, "", encode(t, tracesData(span))).Code)
		require.Equal(t, 200, post(r, "/v1/logs", protobufType, "", record).Code)
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Len(t, j.all(), 40)
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(40<<20))
	runtime.KeepAlive(j)
}

// What is asked for by name is kept when attributes are read.
func TestNamedKeys(t *testing.T) {
	asks := map[string]bool{"text": true, "first": true, "number": true, "isFalse": true, "has": true, "find": true}
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	found := 0
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") || entry.Name() == "json.go" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !asks[method.Sel.Name] {
				return true
			}
			for _, arg := range call.Args {
				if literal, ok := arg.(*ast.BasicLit); ok && literal.Kind == token.STRING {
					key, _ := strconv.Unquote(literal.Value)
					assert.Contains(t, keyIDs(), key, entry.Name())
					found++
				}
			}
			return true
		})
	}
	assert.Greater(t, found, 40)
	assert.Less(t, len(keyIDs()), 64*len(keySet{}))
}

// JSON in which something is of the wrong type is refused, or read where it can only
// mean one thing.
func TestJSONValues(t *testing.T) {
	const ids = `"traceId":"07070707070707070707070707070707","spanId":"0000000000000001"`
	for fields, want := range map[string]int{
		`"status":{"code":2,"message":"m"}`:         200,
		`"status":{"code":"STATUS_CODE_ERROR"}`:     200,
		`"status":{"code":"STATUS_CODE_SOMETHING"}`: 200,
		`"status":7`: 400,
		`"name":7`:   400,
		`"name":{}`:  400,
		`"name":null,"links":[null],"attributes":[]`:                               200,
		`"attributes":{"key":"a"}`:                                                 200, // as if it were a list of one
		`"attributes":[7]`:                                                         400,
		`"attributes":[{"key":"a","value":{"boolValue":"true"}}]`:                  400,
		`"attributes":[{"key":"a","value":{"boolValue":false}}]`:                   200,
		`"attributes":[{"key":"a","value":{"doubleValue":"NaN"}}]`:                 200,
		`"attributes":[{"key":"a","value":{"doubleValue":1e999}}]`:                 400,
		`"attributes":[{"key":"a","value":{"intValue":"9223372036854775808"}}]`:    400,
		`"attributes":[{"key":"a","value":{"intValue":"-9223372036854775808"}}]`:   200,
		`"attributes":[{"key":"a","value":{"bytesValue":"AP8="}}]`:                 200,
		`"attributes":[{"key":"a","value":{"bytesValue":"?"}}]`:                    400,
		`"startTimeUnixNano":1.001e12`:                                             200,
		`"startTimeUnixNano":"18446744073709551615"`:                               200,
		`"startTimeUnixNano":"18446744073709551616"`:                               400,
		`"startTimeUnixNano":1.5`:                                                  400,
		`"startTimeUnixNano":true`:                                                 400,
		`"unknown":[[{"a":[{}]},"]"],1e5,{"b":"}"}],"attributes":[ ] , "links":[]`: 200,
	} {
		r, j := newReceiver()
		w := post(r, "/v1/traces", jsonType, "", []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{`+ids+`,`+fields+`}]}]}]}`))
		assert.Equal(t, want, w.Code, "%s: %s", fields, w.Body)
		if want == 200 {
			require.NotEmpty(t, j.all(), fields)
		}
	}
	r, j := newReceiver()
	span := `{` + ids + `,"name":"\u00fc\"\ud83d\ude00","endTimeUnixNano":"1","status":{"code":2,"message":"no\n"}}`
	require.Equal(t, 200, post(r, "/v1/traces", jsonType, "", []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[`+span+`]}]}]}`)).Code)
	require.Len(t, j.all(), 2)
	assert.Equal(t, []string{"ü\"😀", telemetry.StatusError, "no\n"}, []string{j.all()[0].Name, j.all()[1].Status, j.all()[1].Error})
}
