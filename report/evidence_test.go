package report

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEvidenceText(t *testing.T) {
	for evidence, want := range map[string]string{
		`{"rule":"silent","limit_ms":120000,"last":"span_start","last_span":"call 7","last_ms":5000,"output_age_ms":61000,
			"cpu_ms":30,"cpu_percent":0.1,"cpu_window_ms":30000,"processes":2,"pid":7,"command":"node"}`: "limit 2m 00.0s; last heard span start of call 7 at +0:05.0; no output for 1m 01.0s; 0.1 % of a core in 30.00s by 2 processes",
		`{"rule":"long","limit_ms":600000,"open":"llm claude","llm_open_ms":500000}`: "running for longer than 10m 00.0s; waits for llm claude; LLM request open for 8m 20.0s",
		`{"cpu_percent":0,"stopped":["4711 node"],"zombies":["1 sh","2 sh"]}`:        "0 % of a core; stopped: 4711 node; ended but not waited for: 1 sh, 2 sh",
		`{"last":"span_end l2"}`: "last heard span end l2",
		`{}`:                     "", ``: "", `"x"`: "", `[1]`: "", `{"limit_ms":"soon","last":7}`: "",
	} {
		assert.Equal(t, want, evidenceText(json.RawMessage(evidence)), evidence)
	}
}
