package supervisor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// StallTimeout says after how long a silence a span is stalled. The zero value never
// finds one.
type StallTimeout struct {
	// Default holds for every kind of span, the run itself included, that Kinds does
	// not name: a duration, [AutoStall], or 0 for never.
	Default time.Duration
	// Kinds are the durations for single kinds, "run" for the run itself.
	Kinds map[string]time.Duration
}

// AutoStall stands for a limit that follows from what the spans of a kind have shown:
// see [run.State.Limit]. That of the run itself is 10 minutes.
const AutoStall time.Duration = -1

const (
	autoRun = 10 * time.Minute
	// autoLeast is the shortest limit that auto comes to.
	autoLeast = 2 * time.Minute
	// longestStall keeps sums of times from overflowing.
	longestStall = 10 * 365 * 24 * time.Hour
)

// ParseStallTimeout reads the values of --stall-timeout: each is a duration, "auto" or
// "0", for all kinds or, as KIND=..., for one. Of two for the same the later one
// holds; none at all is auto.
func ParseStallTimeout(values []string) (StallTimeout, error) {
	timeout := StallTimeout{Default: AutoStall}
	for _, value := range values {
		kind, text, one := strings.Cut(value, "=")
		if !one {
			text = value
		}
		kind = strings.TrimSpace(kind)
		limit, err := parseStall(strings.TrimSpace(text))
		if err == nil && one && kind == "" {
			err = errors.New("the kind is missing: write KIND=DURATION, e.g. llm=10m")
		}
		switch {
		case err != nil:
			return StallTimeout{}, fmt.Errorf("parse stall timeout %q: %w", value, err)
		case !one:
			timeout.Default = limit
		default:
			if timeout.Kinds == nil {
				timeout.Kinds = make(map[string]time.Duration)
			}
			timeout.Kinds[kind] = limit
		}
	}
	return timeout, nil
}

func parseStall(text string) (time.Duration, error) {
	if text == "auto" {
		return AutoStall, nil
	}
	limit, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, errors.New("write a duration with its unit, e.g. 90s or 5m, or auto, or 0 to turn stall detection off")
	case limit < 0:
		return 0, errors.New("a silence cannot be negative: write 0 to turn stall detection off")
	}
	return min(limit, longestStall), nil
}

// shortest gives the shortest limit that can come to hold.
func (t StallTimeout) shortest() (least time.Duration, some bool) {
	consider := func(limit time.Duration) {
		if limit == AutoStall {
			limit = autoLeast
		}
		if limit > 0 && (!some || limit < least) {
			least, some = limit, true
		}
	}
	consider(t.Default)
	for _, limit := range t.Kinds {
		consider(limit)
	}
	return least, some
}

// allowance is how long a span may be silent or, where its kind is one that does not
// report, may run. At most one is set; none means that it is not judged.
type allowance struct{ silence, age time.Duration }

// of gives what holds for the spans of a kind.
func (t StallTimeout) of(s *run.State, kind string) allowance {
	name := kind
	if name == "" {
		name = telemetry.KindTask
	}
	limit, ok := t.Kinds[name]
	if !ok {
		limit = t.Default
	}
	switch {
	case limit != AutoStall:
		return allowance{silence: limit}
	case kind == telemetry.KindRun:
		return allowance{silence: autoRun}
	}
	auto := s.Limit(kind)
	return allowance{millis(auto.Silence), millis(auto.Age)}
}

// millis are milliseconds, as the state counts them, as a duration.
func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
