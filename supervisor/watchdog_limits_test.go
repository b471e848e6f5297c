package supervisor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

func TestParseStallTimeout(t *testing.T) {
	cases := []struct {
		values []string
		want   StallTimeout
	}{
		{nil, StallTimeout{Default: AutoStall}},
		{[]string{"auto"}, StallTimeout{Default: AutoStall}},
		{[]string{"0"}, StallTimeout{}},
		{[]string{"0s"}, StallTimeout{}},
		{[]string{"90s"}, StallTimeout{Default: 90 * time.Second}},
		{[]string{"1ns"}, StallTimeout{Default: 1}},
		{[]string{"300h"}, StallTimeout{Default: 300 * time.Hour}},
		{[]string{"2500000h"}, StallTimeout{Default: longestStall}},
		{[]string{"90s", "2m"}, StallTimeout{Default: 2 * time.Minute}},
		{[]string{"llm=10m"}, StallTimeout{Default: AutoStall, Kinds: map[string]time.Duration{"llm": 10 * time.Minute}}},
		{[]string{"llm=10m", "5m", "library-analysis=0", "tool=auto", "llm=1m"}, StallTimeout{Default: 5 * time.Minute,
			Kinds: map[string]time.Duration{"llm": time.Minute, "library-analysis": 0, "tool": AutoStall}}},
	}
	for _, c := range cases {
		got, err := ParseStallTimeout(c.values)
		require.NoError(t, err, c.values)
		assert.Equal(t, c.want, got, c.values)
	}
	faults := map[string]string{
		"-1s":     "write 0 to turn",
		"llm=-1s": "write 0 to turn",
		"-1ns":    "write 0 to turn",
		"30":      "with its unit",
		"":        "with its unit",
		"never":   "with its unit",
		"llm":     "with its unit",
		"llm=":    "with its unit",
		"=5m":     "the kind is missing",
		"a=b=5m":  "with its unit",
	}
	for value, want := range faults {
		_, err := ParseStallTimeout([]string{"1m", value})
		require.Error(t, err, value)
		assert.ErrorContains(t, err, "parse stall timeout")
		assert.ErrorContains(t, err, want, value)
	}
}

func TestStallTimeoutOf(t *testing.T) {
	s := run.NewState()
	timeout := StallTimeout{Default: AutoStall, Kinds: map[string]time.Duration{"llm": time.Minute, "tool": 0, "task": time.Hour}}
	for kind, want := range map[string]allowance{
		"llm":   {silence: time.Minute},
		"tool":  {},
		"agent": {age: 30 * time.Minute}, // as the state has it
		"run":   {silence: 10 * time.Minute},
		"":      {silence: time.Hour}, // a span without a kind is a task
	} {
		assert.Equal(t, want, timeout.of(s, kind), kind)
	}
	assert.Equal(t, allowance{silence: time.Second}, StallTimeout{Default: time.Second}.of(s, "run"))
	assert.Equal(t, allowance{}, StallTimeout{}.of(s, "run"))
}

func TestStallTimeoutShortest(t *testing.T) {
	cases := []struct {
		timeout StallTimeout
		least   time.Duration
		some    bool
	}{
		{StallTimeout{}, 0, false},
		{StallTimeout{Kinds: map[string]time.Duration{"a": 0}}, 0, false},
		{StallTimeout{Default: AutoStall}, 2 * time.Minute, true},
		{StallTimeout{Default: AutoStall, Kinds: map[string]time.Duration{"a": time.Second}}, time.Second, true},
		{StallTimeout{Kinds: map[string]time.Duration{"a": AutoStall, "b": time.Hour}}, 2 * time.Minute, true},
	}
	for _, c := range cases {
		least, some := c.timeout.shortest()
		assert.Equal(t, c.some, some)
		assert.Equal(t, c.least, least)
	}
}
