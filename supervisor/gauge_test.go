package supervisor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// play lets a gauge see one count a second, as a run goes on for that long.
func play(length time.Duration, count func(second int) processCount) (samples []processSample) {
	began := time.Unix(1e9, 0)
	g := newGauge(began)
	for at := time.Second; at <= length; at += time.Second {
		samples = append(samples, g.observe(began.Add(at), count(int(at/time.Second)))...)
	}
	return samples
}

func secondsOf(samples []processSample) (list []int) {
	for _, s := range samples {
		list = append(list, int(s.at.Unix()-1e9))
	}
	return list
}

func TestGauge(t *testing.T) {
	const hour = time.Hour
	busy := func(i int) processCount {
		return processCount{used: time.Duration(i) * 500 * time.Millisecond, live: 2, rss: 100 << 20}
	}
	t.Run("every five seconds", func(t *testing.T) {
		samples := play(22*time.Second, busy)
		assert.Equal(t, []int{1, 6, 11, 16, 21}, secondsOf(samples))
		assert.Equal(t, int64(500), samples[0].CPUMS)
		assert.Equal(t, int64(10_500), samples[4].CPUMS)
		assert.Nil(t, samples[4].Read, "nobody knows")
	})
	t.Run("less often in a long run", func(t *testing.T) {
		for length, most := range map[time.Duration]int{hour: 460, 5 * hour: 800, 7 * 24 * hour: 1500} {
			samples := play(length, busy)
			assert.Less(t, len(samples), most, "%v", length)
			assert.Greater(t, len(samples), most/2, "%v", length)
			last := samples[len(samples)-1].at.Sub(samples[len(samples)-2].at)
			assert.LessOrEqual(t, last, length/samplesKept+2*time.Second)
		}
	})
	t.Run("only on change", func(t *testing.T) {
		idle := play(hour, func(i int) processCount {
			// One percent of a core is what a sleeping interpreter can use.
			return processCount{live: 3, rss: 50<<20 + int64(i%3)<<10, used: time.Duration(i) * 5 * time.Millisecond, metered: true, read: int64(i)}
		})
		assert.Equal(t, []int{1}, secondsOf(idle))
	})
	t.Run("the moment before a change", func(t *testing.T) {
		samples := play(10*time.Minute, func(i int) processCount {
			return processCount{live: 1, used: time.Duration(max(0, i-303)) * time.Second, rss: 1000}
		})
		require.Greater(t, len(samples), 4)
		assert.Equal(t, []int{1, 301, 306, 311}, secondsOf(samples)[:4])
		assert.Zero(t, samples[1].CPUMS)
		assert.Equal(t, int64(3000), samples[2].CPUMS)
	})
	t.Run("the highest memory since the sample before", func(t *testing.T) {
		samples := play(12*time.Second, func(i int) processCount {
			c := busy(i)
			if i == 4 {
				c.rss = 900 << 20
			}
			return c
		})
		assert.Equal(t, int64(900<<20), samples[1].RSS)
		assert.Equal(t, int64(100<<20), samples[2].RSS)
	})
	t.Run("every kind of change", func(t *testing.T) {
		for name, change := range map[string]func(*processCount){
			"processes": func(c *processCount) { c.live++ },
			"memory":    func(c *processCount) { c.rss += 20 << 20 },
			"less":      func(c *processCount) { c.rss -= 20 << 20 },
			"cpu":       func(c *processCount) { c.used += 100 * time.Millisecond },
			"read":      func(c *processCount) { c.read += 1 << 20 },
			"written":   func(c *processCount) { c.written += 1 << 20 },
		} {
			samples := play(time.Minute, func(i int) processCount {
				c := processCount{live: 2, rss: 100 << 20, used: time.Second, metered: true}
				if i >= 27 { // from the beginning of a step
					change(&c)
				}
				return c
			})
			assert.Equal(t, []int{1, 26, 31}, secondsOf(samples), name)
		}
	})
	t.Run("the last", func(t *testing.T) {
		began := time.Unix(1e9, 0)
		g := newGauge(began)
		s := g.last(began.Add(300*time.Millisecond), processCount{used: 200 * time.Millisecond, rss: 7, metered: true, read: 3})
		assert.Equal(t, int64(200), s.CPUMS)
		assert.Equal(t, int64(7), s.RSS)
		assert.Equal(t, int64(3), *s.Read)
	})
}
