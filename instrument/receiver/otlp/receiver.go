package otlp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Paths are where a Receiver is to be found: one for each signal, and the
// endpoint as it stands, to which some exporters post. All of them are for POST.
func Paths() []string {
	paths := make([]string, 0, len(signals))
	for _, s := range signals {
		paths = append(paths, s.path)
	}
	return paths
}

// Receiver is the OTLP/HTTP receiver, an http.Handler for Paths. Who may post is
// for the caller to decide before.
type Receiver struct {
	record func([]telemetry.Event) error
	tee    *Tee
	limit  int64 // MaxBody but in tests
	places chan struct{}
	// patience is how long a request waits for a place.
	patience time.Duration
	silence  time.Duration // bodySilence but in tests

	mu  sync.Mutex // also keeps the events of a batch together
	mem memory
	// ready are events that wait to be recorded together.
	ready []telemetry.Event
	// sparse tells that the body at hand is not worth to be kept for its events.
	sparse bool
}

// maxAtOnce is how many requests are worked on at a time: bodies are large, and
// decoded ones larger.
const maxAtOnce = 8

// maxWait is how long a request waits for its place before the exporter is asked
// to come again.
const maxWait = 2 * time.Second

// maxReady is how many events are recorded together.
const maxReady = 32

// New makes a receiver. Record gets the events of a request one after the other, in
// slices that are used again when it returns; what it returns is not looked at, since
// a fault of the record is told by the record itself. What arrives is forwarded to tee
// unless that is nil.
func New(record func([]telemetry.Event) error, tee *Tee) *Receiver {
	return &Receiver{
		record: record, tee: tee, limit: MaxBody, places: make(chan struct{}, maxAtOnce), patience: maxWait, silence: bodySilence, mem: newMemory(),
		ready: make([]telemetry.Event, 0, maxReady),
	}
}

// ServeHTTP takes one export request. It answers 200, with partial_success where
// items were not taken; 400, 413 and 415 for bodies that cannot be taken at all;
// 503 with Retry-After under overload, so that nothing is dropped silently.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	isJSON, err := mediaType(req)
	if req.Method != http.MethodPost {
		refuse(w, isJSON, &fault{http.StatusMethodNotAllowed, "only POST is supported"})
		return
	}
	if err != nil {
		r.fail(w, req, isJSON, err)
		return
	}
	if !r.enter(req.Context()) {
		if req.Context().Err() == nil {
			refuse(w, isJSON, &fault{http.StatusServiceUnavailable, "too many requests at once: send again"})
		}
		return
	}
	defer func() { <-r.places }()
	raw, body, err := readBody(w, req, r.limit, r.silence)
	if err != nil {
		r.fail(w, req, isJSON, err)
		return
	}
	s := signalOf(req.URL.Path)
	if s == noSignal {
		var ok bool
		if s, ok = guess(body, isJSON); !ok {
			if len(body) == 0 || isJSON && string(body) == "{}" {
				answer(w, s, isJSON, result{})
				return
			}
			r.fail(w, req, isJSON, &fault{http.StatusBadRequest, "the body is neither traces, logs nor metrics of OTLP"})
			return
		}
	}
	if r.tee != nil {
		r.tee.forward(s, req.Header, raw)
	}
	p, err := decode(s, body, isJSON)
	if err != nil {
		r.fail(w, req, isJSON, err)
		return
	}
	answer(w, s, isJSON, r.take(s, p))
}

// enter waits for a place, for a while.
func (r *Receiver) enter(ctx context.Context) bool {
	select {
	case r.places <- struct{}{}:
		return true
	default:
	}
	wait := time.NewTimer(r.patience)
	defer wait.Stop()
	select {
	case r.places <- struct{}{}:
		return true
	case <-wait.C:
	case <-ctx.Done():
	}
	return false
}

func (r *Receiver) take(s signal, p payload) result {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.flush()
	switch s {
	case traces:
		defer p.spans.release()
		return r.takeSpans(p.spans)
	case logRecords:
		return r.takeLogs(p.logs)
	default:
		return r.takeMetrics(p.points)
	}
}

// fail refuses a request and records that it was. The body is not recorded: it
// may hold prompts.
func (r *Receiver) fail(w http.ResponseWriter, req *http.Request, isJSON bool, err error) {
	var f *fault
	if !errors.As(err, &f) {
		f = &fault{http.StatusBadRequest, err.Error()}
	}
	what := fmt.Sprintf("POST %s, %s, %d bytes announced", cut(req.URL.Path, 100), cut(req.Header.Get("Content-Type"), 100), req.ContentLength)
	_ = r.record([]telemetry.Event{telemetry.Rejected(telemetry.SourceOTLP, []byte(what), errors.New(cut(f.reason, maxMessage)))})
	refuse(w, isJSON, f)
}

// maxOdd is how many rejected items are recorded; all are told to the exporter.
const maxOdd = 1000

// odd records that items of a request were not taken.
func (r *Receiver) odd(res result, what string) {
	if res.rejected == 0 || r.mem.odd >= maxOdd {
		return
	}
	r.mem.odd++
	r.emit(telemetry.Rejected(telemetry.SourceOTLP, fmt.Appendf(nil, "%d %s of one request", res.rejected, what), errors.New(res.reason)))
}

// emit has events recorded, by the next flush at the latest.
func (r *Receiver) emit(events ...telemetry.Event) {
	for i := range events {
		*r.next() = events[i]
		r.made()
	}
}

// next is where the next event is to be made, and made what is to be called then.
func (r *Receiver) next() *telemetry.Event {
	if len(r.ready) == cap(r.ready) {
		r.flush()
	}
	r.ready = r.ready[:len(r.ready)+1]
	return &r.ready[len(r.ready)-1]
}

func (r *Receiver) made() {
	if r.sparse {
		apart(&r.ready[len(r.ready)-1])
	}
}

// flush records what waits.
func (r *Receiver) flush() {
	_ = r.record(r.ready)
	clear(r.ready) // they hold on to the body
	r.ready = r.ready[:0]
}

func (r *Receiver) warn(message string) {
	r.emit(telemetry.Event{Type: telemetry.Log, Source: telemetry.SourceObsrun, Level: "warn", Message: message})
}

// Close records what was kept back until nothing could follow: log records whose
// spans never came, tokens that only metrics counted, agents that ended unheard.
// Then it waits for the tee, until ctx ends. It is to be called once, after the
// last request.
func (r *Receiver) Close(ctx context.Context) {
	r.mu.Lock()
	for _, key := range slices.Sorted(maps.Keys(r.mem.held)) {
		r.emit(r.mem.held[key]...)
	}
	clear(r.mem.held)
	r.endBackground()
	r.meter()
	r.flush()
	r.mu.Unlock()
	if r.tee != nil {
		r.tee.close(ctx)
	}
}
