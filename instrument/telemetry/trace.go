package telemetry

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// TraceID is the id of a run in W3C trace context: the first 16 bytes of the
// SHA-256 of the run's id.
func TraceID(runID string) (id [16]byte) {
	sum := sha256.Sum256([]byte(runID))
	copy(id[:], sum[:])
	return id
}

// TraceSpanID is the id of a span in W3C trace context: its own where that is one,
// 16 hex digits in lower case and not all 0, else the first 8 bytes of its
// SHA-256.
func TraceSpanID(spanID string) (id [8]byte) {
	if len(spanID) == 2*len(id) && spanID == strings.ToLower(spanID) {
		if _, err := hex.Decode(id[:], []byte(spanID)); err == nil && id != [8]byte{} {
			return id
		}
	}
	sum := sha256.Sum256([]byte(spanID))
	copy(id[:], sum[:])
	return id
}
