package serve

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// heartbeat is how often an event stream has a comment: proxies and clients take
// a silent one for dead, and a dead client is only noticed by writing to it.
const heartbeat = 15 * time.Second

// stream is a text/event-stream answer. The first error of a write stays, and
// ends the answer.
//
// Source of the format: the HTML standard, section "Server-sent events".
type stream struct {
	w       http.ResponseWriter // it has a buffer of its own
	control *http.ResponseController
	text    []byte
}

// beginStream sends the head of the answer, so that the client knows that it is
// connected before there is anything to say.
func beginStream(w http.ResponseWriter) (*stream, error) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream; charset=utf-8")
	header.Set("Cache-Control", "no-cache, no-store, no-transform")
	header.Set("X-Accel-Buffering", "no") // a proxy must not collect it
	w.WriteHeader(http.StatusOK)
	s := &stream{w: w, control: http.NewResponseController(w)}
	return s, s.flush()
}

// put sends messages as they are.
func (s *stream) put(messages []byte) error {
	_, err := s.w.Write(messages)
	return err
}

// message sends one event with an id.
func (s *stream) message(id int64, data []byte) error {
	s.text = append(s.text[:0], "id: "...)
	s.text = strconv.AppendInt(s.text, id, 10)
	_, _ = s.w.Write(append(s.text, "\ndata: "...))
	_, _ = s.w.Write(data)
	_, err := s.w.Write([]byte("\n\n"))
	return err
}

// comment sends a line that clients ignore.
func (s *stream) comment(text string) error {
	_, err := io.WriteString(s.w, ": "+text+"\n\n")
	return err
}

// event sends one of another sort than messages, without an id. Its data is one
// line, and not empty: browsers drop events without.
func (s *stream) event(sort string, data []byte) error {
	_, _ = io.WriteString(s.w, "event: "+sort+"\ndata: ")
	_, _ = s.w.Write(data)
	_, err := io.WriteString(s.w, "\n\n")
	return err
}

// end sends the event that comes after all others.
func (s *stream) end() error {
	_ = s.event("end", []byte("{}"))
	return s.flush()
}

func (s *stream) flush() error { return s.control.Flush() }

// resumeAfter is the line after which a client wants to go on: 0, the beginning,
// where it does not say, or says what can not be.
func resumeAfter(r *http.Request, reached int64) int64 {
	given := r.URL.Query().Get("after")
	if ids := r.Header.Values("Last-Event-ID"); len(ids) > 0 {
		given = ids[0]
	}
	for _, c := range []byte(given) {
		if c < '0' || c > '9' {
			return 0
		}
	}
	line, err := strconv.ParseInt(given, 10, 64)
	if err != nil || line > reached {
		return 0
	}
	return line
}
