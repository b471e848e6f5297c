package serve

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"
)

// reply is a ResponseWriter whose writes end: a client that takes nothing for as
// long as patience is given up. A deadline for each write takes the place of the
// server's WriteTimeout, which would end healthy streams too.
type reply struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	begun    bool // the status is on its way
	// lasting: a deadline that has passed between two writes does no harm.
	lasting  bool
	extended time.Time // when the deadline was set last, 0 while there is none

	wires *wires // of the server; nil where the connection can not be taken
	taken bool   // it was
	over  func() // called once the answer is over
}

// pieceSize is how much one deadline is for, so that a slow client that does
// take what it is sent is not taken for a stopped one.
const pieceSize = 64 << 10

// Unwrap lets http.ResponseController reach what lies below.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes that the answer has begun.
func (w *reply) WriteHeader(status int) {
	w.begun = w.begun || status >= 200
	w.ResponseWriter.WriteHeader(status)
}

// Write sends p in pieces, each within the deadline.
func (w *reply) Write(p []byte) (written int, err error) {
	w.begun = true
	for {
		piece := p[:min(len(p), pieceSize)]
		w.extend()
		n, err := w.ResponseWriter.Write(piece)
		w.relax()
		written += n
		if p = p[len(piece):]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// FlushError sends what is buffered, within the deadline.
func (w *reply) FlushError() error {
	w.begun = true
	w.extend()
	defer w.relax()
	return w.control.Flush()
}

// extend and relax ignore that a writer has no deadlines: those of tests. A deadline
// that was set just now is good for this write, too: it is a little longer than need be.
func (w *reply) extend() {
	now, spare := time.Now(), w.patience/16
	if !w.extended.IsZero() && now.Sub(w.extended) < spare {
		return
	}
	w.extended = now
	_ = w.control.SetWriteDeadline(now.Add(w.patience + spare))
}

// relax takes the deadline away between writes, where it would end a stream on which
// nothing is to be sent: over HTTP/2.
func (w *reply) relax() {
	if !w.lasting {
		w.extended = time.Time{}
		_ = w.control.SetWriteDeadline(time.Time{})
	}
}

// finish says that the answer is over, unless it goes on on a wire.
func (w *reply) finish() {
	if w.over != nil {
		w.over()
	}
}

// handler puts the guard before the routes, and around both the deadlines and the
// answer to a panic, which ends one request and nothing else.
func (s *Server) handler(routes http.Handler) http.Handler {
	guarded := s.guard.wrap(routes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply := &reply{ResponseWriter: w, control: http.NewResponseController(w), patience: s.patience, lasting: r.ProtoMajor == 1}
		if !s.tls {
			reply.wires = &s.wires
		}
		defer func() {
			if reply.taken {
				return
			}
			// What is still buffered is sent, and what is left of the body read, after
			// this, the body first. The server takes both deadlines back for the next
			// request.
			reply.extend()
			if r.ContentLength != 0 {
				_ = reply.control.SetReadDeadline(time.Now().Add(s.patience / 2))
			}
		}()
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause)
			}
			s.fault(fmt.Errorf("answer %s %s: panic: %v\n%s", r.Method, r.URL.Path, cause, debug.Stack()))
			if reply.begun {
				panic(http.ErrAbortHandler) // the client must see that the answer is cut
			}
			reply.Header().Del("Content-Length")
			refuse(reply, http.StatusInternalServerError, "obsrun failed to answer this request. The run goes on.")
		}()
		guarded.ServeHTTP(reply, r)
	})
}
