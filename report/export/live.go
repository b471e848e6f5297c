package export

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Endpoint is where spans are sent to.
type Endpoint struct {
	// URL is the whole one, with the path for traces, without user and query.
	URL string
	// Headers are set on each request.
	Headers map[string]string
	// TLS is nil for what the system trusts.
	TLS *tls.Config
	// SkipOTLP leaves out the spans that came by OTLP: they reach the endpoint
	// already.
	SkipOTLP bool
	// Tell is told, once each, that the endpoint takes nothing and that it takes
	// again: a level and a sentence.
	Tell func(level, message string)
}

const (
	// pace is how often the run is looked at. A span goes out at the next look at
	// which nothing was told of it since the last one.
	pace = time.Second
	// maxWaiting bounds the spans between the run's state and the endpoint; what
	// is beyond stays in the state.
	maxWaiting = 2048
	// maxBatch is how many spans go in a request.
	maxBatch = 512
	// maxReason bounds what is told of a failure, in bytes: servers are wordy.
	maxReason = 300
	// requestTimeout bounds one attempt.
	requestTimeout = 10 * time.Second
)

// Live sends a run to an OTLP/HTTP endpoint while it goes on.
type Live struct {
	feed  *run.Feed
	trace *Trace
	to    Endpoint
	// hand passes a span on to the sender.
	hand func(*Span)

	ctx      context.Context // ends when nobody waits any more
	stop     context.CancelFunc
	closing  chan struct{}
	deadline time.Time // Close's, zero for none; set before closing is closed
	done     chan struct{}

	// The loop's own.
	rev     int64
	sent    map[string]sent
	settled map[string]run.Span // ended, and not sent yet
	bySpan  map[string]bool     // phases that are spans

	offered   atomic.Int64
	waiting   atomic.Int64
	delivered atomic.Int64
	room      chan struct{} // waiting fell

	mu      sync.Mutex
	failure string // the last, empty while the endpoint takes
	dropped string // the last for which spans were given up, whatever was taken since
	taken   bool   // something was, ever
	failed  bool   // ever
	back    bool   // told
}

// sent is what the endpoint was told of a span.
type sent struct {
	attempts int
	used     run.Usage
}

// Start begins to send. It does not look for the endpoint: that it is not there
// is told by to.Tell.
func Start(feed *run.Feed, trace *Trace, to Endpoint) (*Live, error) {
	l := &Live{
		feed: feed, trace: trace, to: to, closing: make(chan struct{}), done: make(chan struct{}), room: make(chan struct{}, 1),
		sent: make(map[string]sent), settled: make(map[string]run.Span), bySpan: make(map[string]bool),
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	sender, err := newSender(l)
	if err != nil {
		l.stop()
		return nil, fmt.Errorf("export to %s: %w", to.URL, err)
	}
	l.hand = func(s *Span) { sender.queue <- s }
	go sender.run()
	go func() {
		l.follow()
		close(sender.queue)
		<-sender.done
		close(l.done)
	}()
	return l, nil
}

// Close sends what is left of the run, which must have ended, until ctx ends, or
// the endpoint is not to be asked again before ctx's deadline. It gives how many
// spans there were and how many of them were not delivered, and why. It is to be
// called once.
func (l *Live) Close(ctx context.Context) (spans, undelivered int64, reason string) {
	unhook := context.AfterFunc(ctx, l.stop)
	defer unhook()
	l.deadline, _ = ctx.Deadline()
	close(l.closing)
	<-l.done
	l.stop()
	spans = l.offered.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	return spans, spans - l.delivered.Load(), cmp.Or(l.dropped, l.failure)
}

// rest waits before the next attempt, and tells whether there is one. Once the
// run is over, a wait beyond Close's deadline is the end of everything: the
// endpoint wants to be left alone for longer than anybody waits for it.
func (l *Live) rest(wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(l.ctx, wait)
	defer cancel()
	select {
	case <-ctx.Done():
	case <-l.closing:
		if next, _ := ctx.Deadline(); !l.deadline.IsZero() && next.After(l.deadline) {
			l.stop()
		}
		<-ctx.Done()
	}
	return l.ctx.Err() == nil
}

func (l *Live) follow() {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.look(false)
		case <-l.closing:
			l.look(true)
			return
		}
	}
}

// look sends what settled since the last look; all there is, at the end.
func (l *Live) look(last bool) {
	var d run.Delta
	var root run.Span
	l.feed.View(func(s *run.State) {
		if s.Rev() > l.rev || len(l.settled) > 0 || last {
			d = s.Since(l.rev, 0)
			l.rev = d.Rev
			root, _ = s.Span(s.RootID())
		}
	})
	stalls := make(map[string][]run.Stall)
	for _, stall := range d.Stalls {
		stalls[stall.SpanID] = append(stalls[stall.SpanID], stall)
	}
	changed := make(map[string]bool, len(d.Spans))
	for i := range d.Spans {
		v := &d.Spans[i]
		changed[v.ID] = true
		switch {
		case v.ID == root.ID:
			continue
		case v.SameAs != "" || l.to.SkipOTLP && v.Source == telemetry.SourceOTLP:
			delete(l.settled, v.ID)
			continue
		case v.Kind == telemetry.KindPhase || v.Kind == telemetry.KindDiscovery:
			l.bySpan[v.Phase] = true
		}
		l.settled[v.ID] = *v
	}
	for id, v := range l.settled {
		switch {
		case !over(v.State):
			l.sendAttempts(v)
			delete(l.settled, id)
		case last || !changed[id]:
			if !last && v.Source == telemetry.SourceOTLP && v.Awaits != "" {
				v.Parent = v.Awaits // exporters send children before parents
			}
			l.sendAttempts(v)
			l.sendSpan(v, stalls[id])
			delete(l.settled, id)
		}
	}
	if !last {
		return
	}
	for _, p := range d.Phases {
		if !l.bySpan[p.Name] && p.StartMS != 0 {
			l.send(l.trace.Phase(p, root.ID))
		}
	}
	l.send(l.trace.Root(root, d.Run, d.Totals))
}

func over(state string) bool {
	switch state {
	case run.Done, run.Failed, run.Cancelled, run.Lost:
		return true
	}
	return false
}

// sendAttempts sends the attempts before the current one.
func (l *Live) sendAttempts(v run.Span) {
	told := l.sent[v.ID]
	for told.attempts < len(v.Earlier) {
		told.attempts++
		l.send(l.trace.Attempt(v, told.attempts))
		l.sent[v.ID] = told
	}
}

func (l *Live) sendSpan(v run.Span, stalls []run.Stall) {
	told := l.sent[v.ID]
	attempts := max(1, v.Attempts)
	if told.attempts >= attempts {
		return // what came after its end
	}
	l.sent[v.ID] = sent{attempts, v.Usage}
	l.send(l.trace.Span(v, less(v.Usage, told.used), stalls))
}

// less is what was used since.
func less(now, before run.Usage) run.Usage {
	return run.Usage{
		Tokens: max(0, now.Tokens-before.Tokens), Input: max(0, now.Input-before.Input), Output: max(0, now.Output-before.Output),
		Cached: max(0, now.Cached-before.Cached), ToolUses: max(0, now.ToolUses-before.ToolUses), CostUSD: max(0, now.CostUSD-before.CostUSD),
	}
}

// send hands the span on as soon as there is room. After the end of
// patience it is only counted.
func (l *Live) send(span *Span) {
	l.offered.Add(1)
	for l.waiting.Load() >= maxWaiting {
		select {
		case <-l.room:
		case <-l.ctx.Done():
			return
		}
	}
	l.waiting.Add(1)
	l.hand(span)
}

// sentBatch takes note of spans that are done with, and how many of them were taken.
func (l *Live) sentBatch(spans, taken int) {
	l.delivered.Add(int64(taken))
	l.waiting.Add(-int64(spans))
	select {
	case l.room <- struct{}{}:
	default:
	}
}

// Answered tells whether the endpoint ever took anything, or was not asked yet.
func (l *Live) Answered() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken || !l.failed
}

// heard takes note of how an attempt went, and whether spans were given up for it,
// and tells of the first failure and of the first success after it.
func (l *Live) heard(err error, dropped bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		if l.failed && !l.back {
			l.back = true
			l.to.Tell("info", fmt.Sprintf("the run is exported to %s again", l.to.URL))
		}
		l.failure, l.taken = "", true
		return
	}
	l.failure = err.Error()
	if len(l.failure) > maxReason {
		l.failure = strings.ToValidUTF8(l.failure[:maxReason], "") + "…"
	}
	if dropped {
		l.dropped = l.failure
	}
	if !l.failed {
		l.failed = true
		l.to.Tell("warn", fmt.Sprintf("the run is not exported to %s: %v (told once; what can be sent again is, until the run's end)", l.to.URL, l.failure))
	}
}
