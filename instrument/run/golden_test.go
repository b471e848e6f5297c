package run

import (
	"bytes"
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

			// Nothing of it lies in the lines' memory, which is used again.
			data, err := os.ReadFile(JournalPath(dir))
			require.NoError(t, err)
			reused, buffer := NewState(), []byte(nil)
			for line := range bytes.Lines(data) {
				buffer = append(buffer[:0], bytes.TrimSuffix(line, []byte("\n"))...)
				e, err := telemetry.Decode(buffer)
				if err != nil {
					if !bytes.HasSuffix(line, []byte("\n")) {
						break // torn
					}
					e = telemetry.Event{}
				}
				reused.Apply(e)
				for i := range buffer {
					buffer[i] = '#'
				}
			}
			reused.Abandon()
			again, err = json.MarshalIndent(reused.Since(0, 0), "", " ")
			require.NoError(t, err)
			assert.Equal(t, string(got), string(again))
		})
	}
}
