package report

import (
	"encoding/json"
	"fmt"
	"strings"
)

// evidenceText says in a few words what the watchdog saw when it flagged a span. What
// it does not know of the evidence is left to the JSON.
func evidenceText(raw json.RawMessage) string {
	var e struct {
		Rule       string   `json:"rule"`
		Limit      *int64   `json:"limit_ms"`
		Open       string   `json:"open"`
		Last       string   `json:"last"`
		LastSpan   string   `json:"last_span"`
		LastMS     *int64   `json:"last_ms"`
		LLMOpen    *int64   `json:"llm_open_ms"`
		OutputAge  *int64   `json:"output_age_ms"`
		CPUPercent *float64 `json:"cpu_percent"`
		CPUWindow  *int64   `json:"cpu_window_ms"`
		Processes  *int64   `json:"processes"`
		Stopped    []string `json:"stopped"`
		Blocked    []string `json:"blocked"`
		Zombies    []string `json:"zombies"`
	}
	if json.Unmarshal(raw, &e) != nil {
		return "" // a client's, or a later version's
	}
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	if e.Limit != nil {
		if e.Rule == "long" {
			say("running for longer than %s", duration(*e.Limit))
		} else {
			say("limit %s", duration(*e.Limit))
		}
	}
	if e.Last != "" {
		words := "last heard " + strings.ReplaceAll(e.Last, "_", " ")
		if e.LastSpan != "" {
			words += " of " + e.LastSpan
		}
		if e.LastMS != nil {
			words += " at " + clock(*e.LastMS)
		}
		say("%s", words)
	}
	if e.Open != "" {
		say("waits for %s", e.Open)
	}
	if e.LLMOpen != nil {
		say("LLM request open for %s", duration(*e.LLMOpen))
	}
	if e.OutputAge != nil {
		say("no output for %s", duration(*e.OutputAge))
	}
	if e.CPUPercent != nil {
		words := fmt.Sprintf("%g %% of a core", *e.CPUPercent)
		if e.CPUWindow != nil {
			words += " in " + duration(*e.CPUWindow)
		}
		if e.Processes != nil {
			words += " by " + some(*e.Processes, "process", "processes")
		}
		say("%s", words)
	}
	for _, some := range []struct {
		what string
		who  []string
	}{{"stopped", e.Stopped}, {"blocked in the kernel", e.Blocked}, {"ended but not waited for", e.Zombies}} {
		if len(some.who) > 0 {
			say("%s: %s", some.what, strings.Join(some.who, ", "))
		}
	}
	return strings.Join(said, "; ")
}
