package report

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

func TestLastOf(t *testing.T) {
	loaded, err := run.Load("../testdata/runs/eigenda-planned")
	require.NoError(t, err)
	before := Summarize(loaded.State)
	require.Equal(t, "library_depth_n", before.Phases[2].Name)
	before.Phases[2].Depths = Phases{{Name: "1", WallMS: 70000}, {Name: "2", WallMS: 42000}}

	last := LastOf(before, run.NewState())
	assert.Equal(t, before.RunID, last.RunID)
	assert.EqualValues(t, 312500, last.WallMS)
	names := []string{}
	for _, p := range last.Phases {
		assert.Positive(t, p.WallMS, p.Name)
		names = append(names, p.Name)
	}
	assert.Equal(t, []string{"discovery", "library_depth_0", "library_depth_1", "library_depth_2", "application_analysis", "synthesis"}, names)
	assert.Nil(t, last.Comparison, "what is not done yet is no change")

	last = LastOf(Summarize(loaded.State), loaded.State)
	require.NotNil(t, last.Comparison)
	for _, change := range last.Comparison.Totals {
		assert.Zero(t, change.Diff, change.Name)
	}
}
