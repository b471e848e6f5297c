package otlp

import (
	"encoding/binary"
	"encoding/json"
	"net/http"
	"strconv"
)

// result is what became of a body: how many of its items were not taken, and
// why the first of them was not.
type result struct {
	rejected int64
	reason   string
}

func (r *result) reject(reason string) {
	r.rejected++
	if r.reason == "" {
		r.reason = reason
	}
}

// answer writes the response of a body that was taken: an Export...Response
// message, empty where all of it was, else with partial_success.
func answer(w http.ResponseWriter, s signal, isJSON bool, res result) {
	var body []byte
	switch {
	case isJSON && res.rejected == 0:
		body = []byte("{}")
	case isJSON:
		body, _ = json.Marshal(map[string]any{"partialSuccess": map[string]any{
			signals[s].rejected: strconv.FormatInt(res.rejected, 10), "errorMessage": res.reason,
		}})
	case res.rejected > 0:
		// partial_success = 1 { rejected_... = 1, error_message = 2 }
		body = appendField(nil, 1, appendNumbered(nil, uint64(res.rejected), res.reason)) // #nosec G115 -- a count
	}
	send(w, http.StatusOK, isJSON, body)
}

// refuse writes an error: a google.rpc.Status in the request's own format. The
// code is that of google.rpc.Code.
func refuse(w http.ResponseWriter, isJSON bool, f *fault) {
	code := uint64(3) // INVALID_ARGUMENT
	switch f.status {
	case http.StatusRequestEntityTooLarge:
		code = 11 // OUT_OF_RANGE
	case http.StatusServiceUnavailable:
		code = 14 // UNAVAILABLE
		w.Header().Set("Retry-After", "1")
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	}
	reason := cut(f.reason, maxMessage) // what could not be read is quoted in some
	var body []byte
	if isJSON {
		body, _ = json.Marshal(map[string]any{"code": code, "message": reason})
	} else {
		body = appendNumbered(nil, code, reason)
	}
	send(w, f.status, isJSON, body)
}

// appendNumbered appends the two fields that both messages of an answer have: a number
// and a text.
func appendNumbered(b []byte, number uint64, text string) []byte {
	b = binary.AppendUvarint(binary.AppendUvarint(b, tagOf(1, varintType)), number)
	return appendField(b, 2, []byte(text))
}

func appendField(b []byte, number uint64, data []byte) []byte {
	b = binary.AppendUvarint(b, tagOf(number, bytesType))
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}

// Headers that all answers share; nobody changes them.
var (
	ofProtobuf = []string{protobufType}
	ofJSON     = []string{jsonType}
	noSniff    = []string{"nosniff"}
)

func send(w http.ResponseWriter, status int, isJSON bool, body []byte) {
	h := w.Header()
	h["Content-Type"] = ofProtobuf
	if isJSON {
		h["Content-Type"] = ofJSON
	}
	h["X-Content-Type-Options"] = noSniff
	if len(body) == 0 && status == http.StatusOK {
		return // which the server answers by itself, and with less effort
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
