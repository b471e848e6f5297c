package serve

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"
)

// heartbeat is how often an event stream has a comment: proxies and clients take
// a silent one for dead, and a dead client is only noticed by writing to it.
const heartbeat = 15 * time.Second

// signOfLife is the comment that a stream has then.
var signOfLife = []byte(": obsrun is here\n\n")

// stream is a text/event-stream answer. An error of a write stays, and ends it.
//
// Source of the format: the HTML standard, section "Server-sent events".
type stream struct {
	out   io.Writer
	wire  *wire        // out, where net/http has no part in it any more
	empty func() error // sends what out has in a buffer; nil where it has none
	err   error        // of a write
}

// beginStream sends the head of the answer, so that the client knows that it is
// connected before there is anything to say.
func beginStream(w http.ResponseWriter, r *http.Request) (*stream, error) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream; charset=utf-8")
	header.Set("Cache-Control", "no-cache, no-store, no-transform")
	header.Set("X-Accel-Buffering", "no") // a proxy must not collect it
	if reply, ok := w.(*reply); ok && reply.wires != nil && r.Method != http.MethodHead {
		wire, err := reply.wires.take(reply, r)
		if err != nil {
			return nil, err
		}
		return &stream{out: wire, wire: wire}, nil
	}
	w.WriteHeader(http.StatusOK)
	s := &stream{out: w, empty: http.NewResponseController(w).Flush}
	return s, s.flush()
}

// run has somebody write the answer, until the context that is given is done. Of a
// wire it returns at once.
func (s *stream) run(ctx context.Context, say func(context.Context)) {
	if s.wire != nil {
		s.wire.talk(say)
		return
	}
	say(ctx)
}

// put sends messages as they are.
func (s *stream) put(messages []byte) error {
	if s.err == nil {
		_, s.err = s.out.Write(messages)
	}
	return s.err
}

func (s *stream) flush() error {
	if s.err == nil && s.empty != nil {
		s.err = s.empty()
	}
	return s.err
}

// comment sends a line that clients ignore.
func (s *stream) comment(text string) error { return s.put([]byte(": " + text + "\n\n")) }

// event sends one of another sort than messages, without an id. Its data is one
// line, and not empty: browsers drop events without.
func (s *stream) event(sort string, data []byte) error {
	text := append([]byte("event: "+sort+"\ndata: "), data...)
	return s.put(append(text, "\n\n"...))
}

// end sends the event that comes after all others.
func (s *stream) end() error {
	_ = s.event("end", []byte("{}"))
	return s.flush()
}

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
