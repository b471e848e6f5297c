package receiver

import (
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// localClock reads the timestamps of a log that was written with the host's
// local time and without an offset, as Python's datetime.now().isoformat() does.
//
// In the hour that a change from summer time repeats, such a timestamp means two
// times. The log runs forwards, so the earlier one that is not before the last
// is taken; where the log begins within that hour, the earlier one.
type localClock struct {
	zone *time.Location
	last time.Time
}

// slack is how far a log may seem to run backwards: lines of several threads
// overtake each other.
const slack = 5 * time.Second

// read gives the time of the log's next line, or where the text is no time that
// of the line before.
func (c *localClock) read(text string) time.Time {
	if times := c.parse(text); len(times) > 0 {
		chosen := times[len(times)-1]
		for _, t := range times {
			if !t.Before(c.last.Add(-slack)) {
				chosen = t
				break
			}
		}
		if chosen.After(c.last) {
			c.last = chosen
		}
		return chosen
	}
	return c.last
}

// before gives the time that the text means, told of something that happened no
// later than at.
func (c *localClock) before(text string, at time.Time) (time.Time, bool) {
	times := c.parse(text)
	if len(times) == 0 {
		return time.Time{}, false
	}
	chosen := times[0]
	for _, t := range times {
		if !t.After(at) {
			chosen = t
		}
	}
	return chosen, true
}

// parse gives all the times that the text can mean, in order: none, one or two.
func (c *localClock) parse(text string) []time.Time {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil { // it has an offset
		return []time.Time{t}
	}
	wall, err := time.Parse("2006-01-02T15:04:05", text) // takes a fraction too
	if err != nil {
		return nil
	}
	// The offsets in force a day before and after; it changes less often than that.
	const day = 24 * time.Hour
	var times []time.Time
	for _, around := range []time.Time{wall.Add(-day), wall.Add(day)} {
		_, offset := around.In(c.zone).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second)
		if _, there := t.In(c.zone).Zone(); there == offset && (len(times) == 0 || !times[0].Equal(t)) {
			times = append(times, t)
		}
	}
	if len(times) == 0 { // within the hour that the change to summer time skips
		times = append(times, time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), c.zone))
	}
	return times
}

// seconds is the time as telemetry has it, absent where it is not known.
func seconds(t time.Time) telemetry.Float {
	if t.IsZero() {
		return telemetry.Float{}
	}
	return telemetry.F(float64(t.UnixMicro()) / 1e6)
}
