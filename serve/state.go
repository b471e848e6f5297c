package serve

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// serveState sends the folded state: once as JSON, or as a stream that begins
// with it, or with what a client that comes back has missed.
func (v *view) serveState(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if strings.Contains(strings.ToLower(r.Header.Get("Accept")), "text/event-stream") {
		v.streamState(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if r.Method == http.MethodHead {
		return
	}
	defer v.pulse.read()()
	frame, err := v.pulse.state(true)
	if err != nil {
		v.unencodable(err)
		refuse(w, http.StatusInternalServerError, "The state could not be encoded. The run goes on.")
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(frame.json)))
	_, _ = w.Write(frame.json)
}

func (v *view) streamState(w http.ResponseWriter, r *http.Request) {
	leave := v.audience.enter()
	stream, err := beginStream(w, r)
	if err != nil || r.Method == http.MethodHead {
		leave()
		return
	}
	reached, _ := progress(v.feed)
	from := resumeAfter(r, reached)
	stream.run(r.Context(), func(ctx context.Context) {
		defer leave()
		defer v.pulse.join()()
		defer v.pulse.read()()
		if ended, err := v.sendDeltas(ctx, stream, from); err != nil && ctx.Err() == nil {
			v.unencodable(err)
		} else if ended {
			v.audience.linger(askGrace)
		}
	})
}

// sendDeltas sends what came after line from until the run's end, and tells
// whether that was reached. Between them, as soon as it is known, and once more at
// the end, stands an event with the run before this one. The error is one of
// encoding; a client that is gone, or takes nothing, is none.
func (v *view) sendDeltas(ctx context.Context, stream *stream, from int64) (ended bool, err error) {
	frame, err := v.first(from)
	last := make(chan []byte, 1)
	if err == nil && !frame.end {
		go func() { last <- v.lastRun() }() // the runs beside it may be many
	}
	for {
		if err != nil {
			return false, err
		}
		_ = stream.put(frame.text)
		var before []byte
		if frame.end {
			if stream.flush() != nil { // the page has the last state, however long the rest takes
				return false, nil
			}
			before = v.lastRun()
		} else {
			select {
			case before = <-last:
			default:
			}
		}
		if before != nil {
			_ = stream.event("last", before)
		}
		if stream.flush() != nil {
			return false, nil
		}
		if frame.end {
			return stream.end() == nil, nil
		}
		if frame, err = v.pulse.next(ctx, frame.rev); ctx.Err() != nil {
			return false, nil
		}
	}
}

// lastRun is the run before this one as JSON, nil where there is none. One that can
// not be read is no reason to say less of this one.
func (v *view) lastRun() []byte {
	if v.last == nil {
		return nil
	}
	last, err := v.last()
	if last == nil || err != nil {
		return nil
	}
	text, err := json.Marshal(last)
	if err != nil {
		v.unencodable(err)
		return nil
	}
	return text
}

func (v *view) first(from int64) (*frame, error) {
	if from > 0 {
		return v.pulse.since(from)
	}
	return v.pulse.state(false)
}

// unencodable tells of a state that JSON can not hold, once: its clients come
// back every few seconds.
func (v *view) unencodable(err error) { v.broken.Do(func() { v.fault(err) }) }
