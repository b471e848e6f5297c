package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
)

const (
	bigEvents = 1_000_000
	bigAgents = 100
)

// bigRun writes the directory of a run with a million events, about 226 MB: 100 agents
// that report what they used, and 100,000 calls of LLMs and tools below them.
func bigRun(dir, id string, seed int) error {
	dir = filepath.Join(dir, id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, "telemetry.jsonl"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(file, 1<<20)
	line := 0
	put := func(format string, args ...any) {
		fmt.Fprintf(w, format, args...)
		fmt.Fprintf(w, `,"ts":%.6f,"source":"socket","recv_ms":%d}`+"\n", 1775606400+float64(line)*0.003, line*3)
		line++
	}
	fmt.Fprintf(w, `{"event":"span_start","span_id":"5b1c0ffee0000001","name":"./analyze","kind":"run","attrs":{"run_id":%q,"command":["./analyze","big"],"schema":1},"ts":1775606400,"source":"obsrun","recv_ms":0}`+"\n", id)
	line++
	phases := []string{"library-depth-0", "library-depth-1", "library-depth-2", "application-analysis", "synthesis"}
	for _, p := range phases {
		put(`{"event":"span_start","span_id":"phase-%s","kind":"phase","name":"%s"`, p, p)
	}
	messages := []string{"reading the package that encodes blobs, and its tests", "looking for who calls the encoder from elsewhere", "writing down what the proofs depend on, with sources"}
	for turn := 0; line < bigEvents-bigAgents-len(phases)-1; turn++ {
		a := turn % bigAgents
		agent, step, call := fmt.Sprintf("agent-%04d", a), turn/bigAgents%20, turn/bigAgents/20
		used := (turn / bigAgents) * (311 + seed)
		switch {
		case turn < bigAgents:
			put(`{"event":"span_start","span_id":"%s","parent":"phase-%s","component":"component-%03d","name":"analyze component-%03d","kind":"library-analysis"`, agent, phases[a%len(phases)], a, a)
		case step == 0:
			put(`{"event":"span_start","span_id":"%s-llm-%06d","parent":"%s","name":"claude-sonnet-4-5","kind":"llm","attrs":{"model":"claude-sonnet-4-5","provider":"anthropic"},"call_id":"msg_%s%06d"`, agent, call, agent, agent, call)
		case step == 4:
			put(`{"event":"span_end","span_id":"%s-llm-%06d","status":"ok","duration_ms":%d.25,"tokens":%d,"input_tokens":%d,"output_tokens":%d,"cached_tokens":%d,"cost_usd":0.01%d`, agent, call, 900+call%700, 2200+call%300, 2000, 200+call%300, 1500, call%90+10)
		case step == 10:
			put(`{"event":"span_start","span_id":"%s-tool-%06d","parent":"%s","name":"Read","kind":"tool","attrs":{"path_length":%d,"arguments":212,"tool_call_id":"toolu_%06d"}`, agent, call, agent, call%80, call)
		case step == 14:
			put(`{"event":"span_end","span_id":"%s-tool-%06d","status":"ok","duration_ms":%d,"attrs":{"result_bytes":%d}`, agent, call, 12+call%90, 1000+call%4000)
		default:
			put(`{"event":"span_update","span_id":"%s","tokens":%d,"input_tokens":%d,"output_tokens":%d,"tool_uses":%d,"message":"%s"`, agent, used, used-used/8, used/8, call, messages[turn%len(messages)])
		}
	}
	for a := range bigAgents {
		put(`{"event":"span_end","span_id":"agent-%04d","status":"ok"`, a)
	}
	for _, p := range phases {
		put(`{"event":"span_end","span_id":"phase-%s","status":"ok"`, p)
	}
	fmt.Fprintf(w, `{"event":"span_end","span_id":"5b1c0ffee0000001","status":"ok","attrs":{"exit_code":0,"obsrun_exit":0,"rejected_events":0},"ts":%.6f,"source":"obsrun","recv_ms":%d}`+"\n", 1775606400+float64(line)*0.003, line*3)
	if err := w.Flush(); err != nil {
		return err
	}
	return file.Close()
}
