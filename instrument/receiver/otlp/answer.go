package otlp

import (
	"encoding/json"
	"net/http"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
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
		var partial []byte
		partial = protowire.AppendTag(partial, 1, protowire.VarintType)
		partial = protowire.AppendVarint(partial, uint64(res.rejected))
		partial = protowire.AppendTag(partial, 2, protowire.BytesType)
		partial = protowire.AppendString(partial, res.reason)
		body = protowire.AppendTag(body, 1, protowire.BytesType)
		body = protowire.AppendBytes(body, partial)
	}
	send(w, http.StatusOK, isJSON, body)
}

// refuse writes an error: a google.rpc.Status in the request's own format. The
// code is that of google.rpc.Code.
func refuse(w http.ResponseWriter, isJSON bool, f *fault) {
	code := 3 // INVALID_ARGUMENT
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
		body = protowire.AppendTag(body, 1, protowire.VarintType)
		body = protowire.AppendVarint(body, uint64(code))
		body = protowire.AppendTag(body, 2, protowire.BytesType)
		body = protowire.AppendString(body, reason)
	}
	send(w, f.status, isJSON, body)
}

func send(w http.ResponseWriter, status int, isJSON bool, body []byte) {
	h := w.Header()
	h.Set("Content-Type", protobufType)
	if isJSON {
		h.Set("Content-Type", jsonType)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
