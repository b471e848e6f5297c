package main

import (
	"cmp"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
)

// What each span says comes in order, what several say may come in any: over many
// connections it does. The run is the same.
func TestOrderBetweenSpansIsNothing(t *testing.T) {
	text, err := os.ReadFile("../../testdata/runs/eigenda-planned/telemetry.jsonl")
	require.NoError(t, err)
	var events []telemetry.Event
	for line := range strings.Lines(string(text)) {
		e, err := telemetry.Decode([]byte(line))
		require.NoError(t, err)
		events = append(events, e)
	}
	want := summed(events)
	require.Len(t, want.Agents, 35)
	for seed := range uint64(40) {
		require.Equal(t, want, summed(shuffled(events, rand.New(rand.NewPCG(seed, 7)))), "seed %d", seed)
	}
}

// summed is what a run comes to, without the order in which agents appeared.
func summed(events []telemetry.Event) report.Summary {
	state := run.NewState()
	for _, e := range events {
		state.Apply(e)
	}
	s := report.Summarize(state)
	slices.SortFunc(s.Agents, func(a, b report.Agent) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

// shuffled mixes what different spans say. The run itself begins and ends it.
func shuffled(events []telemetry.Event, rnd *rand.Rand) []telemetry.Event {
	said := make(map[string][]telemetry.Event)
	var turns []string
	last := len(events) - 1
	for _, e := range events[1:last] {
		who := cmp.Or(e.SpanID, e.Name)
		said[who] = append(said[who], e)
		turns = append(turns, who)
	}
	rnd.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	out := slices.Clone(events[:1])
	for _, who := range turns {
		out = append(out, said[who][0])
		said[who] = said[who][1:]
	}
	return append(out, events[last:]...)
}
