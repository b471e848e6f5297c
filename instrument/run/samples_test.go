package run

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSamples(t *testing.T) {
	ms := func(at float64) int64 { return int64(math.Round((epoch + at) * 1000)) }
	s := fold(t,
		ev(0, "span_start", "libs", `"kind":"phase"`),
		ev(1, "span_start", "a", `"kind":"agent","parent":"libs"`),
		ev(2, "span_update", "a", `"tokens":100`),
		ev(2.5, "span_update", "a", `"tokens":150,"tool_uses":1`), // within a second the last one stands
		ev(4, "span_start", "call", `"kind":"llm","parent":"a"`),
		ev(5, "span_end", "call", `"kind":"llm","tokens":400`), // and what lies below counts
		ev(6, "span_start", "silent", `"kind":"agent","parent":"libs"`),
		ev(7, "span_end", "silent", `"tokens":50`),
		ev(3, "span_update", "a", `"tokens":450`), // known only now
		ev(9, "span_end", "a", `"tokens":500`),
		ev(10, "span_update", "a", `"tokens":600`),
	)
	samples := s.Samples()
	assert.Equal(t, map[string][]Sample{
		"a": {{ms(2.5), 150, 1}, {ms(5), 450, 1}},
	}, samples.Agents)
	assert.Equal(t, map[string][]Sample{
		"libs": {{ms(2.5), 150, 1}, {ms(5), 400, 1}, {ms(7), 500, 1}, {ms(9), 550, 1}, {ms(10), 650, 1}},
	}, samples.Phases)
}

// However long the run, its samples are few, in order, and begin and end where
// the readings did.
func TestSamplesStayFew(t *testing.T) {
	s := fold(t, ev(0, "span_start", "a", `"kind":"agent","phase":"p"`))
	for i := 1; i <= 5000; i++ {
		s.Apply(event(t, ev(float64(i)*0.7, "span_update", "a", fmt.Sprintf(`"tokens":%d`, i))))
		require.LessOrEqual(t, len(s.Samples().Agents["a"]), maxReadings)
	}
	for _, samples := range [][]Sample{s.Samples().Agents["a"], s.Samples().Phases["p"]} {
		require.Greater(t, len(samples), maxReadings/4)
		for i := 1; i < len(samples); i++ {
			require.Greater(t, samples[i][0], samples[i-1][0])
			require.Greater(t, samples[i][1], samples[i-1][1])
		}
		assert.EqualValues(t, 5000, samples[len(samples)-1][1])
		assert.Less(t, samples[0][0], int64((epoch+128)*1000))
	}
}

// Times that make no sense do not keep the readings from being thinned.
func TestSamplesOfAbsurdTimes(t *testing.T) {
	var r readings
	u := usage{}
	for i := range 1000 {
		u.n[tokens]++
		r.put(int64(math.Pow(1.04, float64(i))), &u)
	}
	assert.LessOrEqual(t, len(r.samples), maxReadings)
	assert.EqualValues(t, 1000, r.samples[len(r.samples)-1][1])
}
