package run

import (
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// start folds a span_start.
func (s *State) start(n *node, at, recv int64) {
	switch {
	case n.life == waiting:
		n.life, n.startAt, n.attempts = open, at, 1
	case n.life == open && !n.started: // known by an update only
		n.startAt = at
	case n.life == open:
		return
	case !n.started && at <= n.endAt: // told after its own end
		n.startAt = at
		n.started = true
		if !n.durationTold {
			n.duration = n.endAt - n.startAt
		}
		return
	case n != s.root:
		n.earlier = append(n.earlier, Interval{millis(n.startAt), millis(n.endAt), s.stateOf(n)})
		n.newAttempt()
		n.life, n.startAt, n.endAt, n.duration = open, at, 0, 0
		n.status, n.err = "", ""
		n.attempts++
		n.lastReport = 0
	default:
		return
	}
	n.started = true
	n.startRecv, n.heard, n.longest, n.beats = recv, recv, 0, 0
}

// end folds a span_end.
func (s *State) end(n *node, e *telemetry.Event, at, recv int64) {
	if n.life == ended { // a second end: that it failed may be found out later
		if e.Error != "" {
			n.err = strings.Clone(e.Error)
		}
		if statusOf(e) == telemetry.StatusError {
			n.status = telemetry.StatusError
		}
		return
	}
	duration, told := int64(0), e.DurationMS.OK
	if told {
		duration = micros(e.DurationMS.F)
	}
	if n.life == waiting {
		n.startAt, n.attempts = at-duration, 1
		n.heard = recv
	}
	n.life, n.finished, n.endAt = ended, true, max(at, n.startAt)
	n.duration = n.endAt - n.startAt
	if n.durationTold = told; told {
		n.duration = duration
	}
	n.status, n.err, n.statusTold = statusOf(e), strings.Clone(e.Error), e.Status != "" || e.Error != ""
	if e.Message != "" {
		n.say(e.Message)
	}
	s.learn(n, recv)
}

// statusOf reads a status. Producers spell it in many ways, and a failure that is
// taken for a success is the worst mistake; so is every other word with an error.
func statusOf(e *telemetry.Event) string {
	switch strings.ToLower(e.Status) {
	case telemetry.StatusOK, "success", "done", "completed":
		return telemetry.StatusOK
	case telemetry.StatusCancelled, "canceled", "aborted":
		return telemetry.StatusCancelled
	case telemetry.StatusError, "err", "failed", "failure", "fatal", "timeout", "crashed", "exception", "panic", "killed":
		return telemetry.StatusError
	}
	if e.Error != "" {
		return telemetry.StatusError
	}
	return telemetry.StatusOK
}

// finish folds the end of the run: what is open is lost.
func (s *State) finish() {
	if s.ended {
		return
	}
	var left []*node
	for _, n := range s.order[1:] {
		if n.life != ended {
			s.count(n, -1)
			left = append(left, n)
		}
	}
	s.ended = true
	for _, n := range left {
		s.count(n, +1)
		s.touch(n)
	}
}

// Abandon closes a run that nobody closed, because obsrun was killed: it ended,
// as far as anybody knows, with its last event.
func (s *State) Abandon() {
	if s.ended {
		return
	}
	s.abandoned = true
	if s.root.startAt == 0 {
		s.root.startAt = s.earliest() // nobody told of its start either
	}
	s.root.life, s.root.endAt = ended, max(s.origin+s.lastRecv*1000, s.root.startAt)
	s.root.duration = s.root.endAt - s.root.startAt
	s.root.status = telemetry.StatusCancelled
	s.finish()
	s.touch(s.root)
}

// earliest is the first moment that anything is known of.
func (s *State) earliest() int64 {
	first := s.origin
	for _, n := range s.order[1:] {
		if n.life != waiting {
			first = min(first, n.startAt)
		}
	}
	for _, p := range s.phaseOrder {
		if p.first != 0 {
			first = min(first, p.first)
		}
	}
	return first
}
