package telemetry

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTraceContext(t *testing.T) {
	run := TraceID("eigenda-20260408-abc123")
	assert.Equal(t, "28d5ca2fb368afb51cc6c86ac81dcb38", hex.EncodeToString(run[:]))
	for id, want := range map[string]string{
		"00f067aa0ba902b7": "00f067aa0ba902b7",
		"lib-encoding":     "900b7d45630b9e8f",
		"00F067AA0BA902B7": "4d0e8b180e29c849",
		"0000000000000000": "fcdb4b423f4e5283",
		"zzf067aa0ba902b7": "",
		"":                 "e3b0c44298fc1c14",
	} {
		got := TraceSpanID(id)
		if want == "" {
			assert.NotContains(t, hex.EncodeToString(got[:]), "f067aa0ba902b7", "what was decoded of it is no part of the hash")
			continue
		}
		assert.Equal(t, want, hex.EncodeToString(got[:]), id)
	}
}
