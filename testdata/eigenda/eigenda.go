// Package eigenda is the profile of one run: 35 agents that analyse the code of
// Layr-Labs/eigenda. The demo plays it and tests measure against it.
//
// Component names and dependencies are what discovery finds in Layr-Labs/eigenda
// at 61019b4. Phase times, agent counts and totals are those of the published
// run. The times, tokens and tool uses of single agents are made up so that every
// sum is the published one.
package eigenda

import (
	_ "embed"
	"encoding/json"
)

//go:embed profile.json
var profile []byte

// Profile is the run. Times are milliseconds.
type Profile struct {
	SourceRepo   string  `json:"source_repo"`
	SourceCommit string  `json:"source_commit"`
	TotalWallMS  int64   `json:"total_wall_ms"`
	Phases       []Phase `json:"phases"` // one after the other
	Totals       struct {
		AgentsSpawned   int64 `json:"agents_spawned"`
		TotalTokens     int64 `json:"total_tokens"`
		TotalToolUses   int64 `json:"total_tool_uses"`
		AnalysesWritten int64 `json:"analyses_written"`
	} `json:"totals"`
	Agents []Agent `json:"agents"`
}

// Phase is a stretch of the run.
type Phase struct {
	Name   string `json:"name"`
	WallMS int64  `json:"wall_ms"`
	Agents int    `json:"agents"`
}

// Agent is one agent: when it begins within its phase, and what it uses.
type Agent struct {
	Name          string   `json:"name"`
	Kind          string   `json:"kind"`
	Phase         string   `json:"phase"`
	StartOffsetMS int64    `json:"start_offset_ms"`
	DurationMS    int64    `json:"duration_ms"`
	Tokens        int64    `json:"tokens"`
	ToolUses      int64    `json:"tool_uses"`
	ComponentType string   `json:"component_type"`
	DependsOn     []string `json:"depends_on"`
}

// Load gives the profile.
func Load() Profile {
	var p Profile
	if err := json.Unmarshal(profile, &p); err != nil {
		panic("the embedded profile is not readable: " + err.Error())
	}
	return p
}
