package otlp

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// unmarshalJSON reads OTLP/JSON: protobuf's JSON mapping (int64 as string or
// number, unknown fields ignored) but for ids, which are hex in either case and
// not base64, and enums, which are integers.
func unmarshalJSON(body []byte, m proto.Message) error {
	if !json.Valid(body) {
		return errors.New("not valid JSON")
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(idsToBase64(body), m)
}

// idsToBase64 rewrites the values of the id fields from hex to the base64 that
// the protobuf mapping expects. No other message of OTLP has fields of these
// names, and attributes have their names in values, so it does not matter at
// which depth they stand. What is no hex becomes an id of the wrong length,
// which costs the one span and not the whole body.
func idsToBase64(body []byte) []byte {
	out := make([]byte, 0, len(body)+len(body)/16)
	copied := 0
	for i := 0; i < len(body); {
		if body[i] != '"' {
			i++
			continue
		}
		end := stringEnd(body, i)
		name := body[i+1 : end-1]
		value := skipColon(body, end)
		if value == 0 || body[value] != '"' || !isID(name) {
			i = end
			continue
		}
		valueEnd := stringEnd(body, value)
		id := make([]byte, hex.DecodedLen(valueEnd-value-2))
		if _, err := hex.Decode(id, body[value+1:valueEnd-1]); err != nil {
			id = []byte{0}
		}
		out = append(out, body[copied:value+1]...)
		out = base64.StdEncoding.AppendEncode(out, id)
		copied, i = valueEnd-1, valueEnd
	}
	return append(out, body[copied:]...)
}

func isID(name []byte) bool {
	switch string(name) {
	case "traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id":
		return true
	}
	return false
}

// stringEnd gives the index after the string that begins at i, in valid JSON.
func stringEnd(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipColon gives where the value after a key begins, 0 where no colon follows.
func skipColon(b []byte, i int) int {
	i = skipSpace(b, i)
	if i == len(b) || b[i] != ':' {
		return 0
	}
	return skipSpace(b, i+1)
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && bytes.IndexByte([]byte(" \t\r\n"), b[i]) >= 0 {
		i++
	}
	return i
}
