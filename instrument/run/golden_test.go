package run

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/journal"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The state of every recorded run, as a reader gets it.
func TestGoldenStates(t *testing.T) {
	journals, err := filepath.Glob("../../testdata/runs/*/telemetry.jsonl")
	require.NoError(t, err)
	require.NotEmpty(t, journals)
	for _, path := range journals {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			loaded, err := Load(dir)
			require.NoError(t, err)
			got, err := json.MarshalIndent(loaded.State.Since(0, 0), "", " ")
			require.NoError(t, err)
			golden := filepath.Join(dir, "state.json")
			if *update {
				require.NoError(t, os.WriteFile(golden, append(got, '\n'), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.JSONEq(t, string(want), string(got))

			// However the bytes come, it is the same state.
			file, err := os.Open(JournalPath(dir))
			require.NoError(t, err)
			defer file.Close()
			slow := &journalFile{reader: journal.NewReader(iotest.OneByteReader(file)), state: NewState()}
			require.NoError(t, slow.read(func(e telemetry.Event) { slow.state.Apply(e) }))
			slow.state.Abandon()
			again, err := json.MarshalIndent(slow.state.Since(0, 0), "", " ")
			require.NoError(t, err)
			assert.Equal(t, string(got), string(again))
		})
	}
}
