package report

import "github.com/obsrun/obsrun/instrument/run"

// Last is a run beside which a later one is shown: how long it took, and what
// changed since.
type Last struct {
	RunRef
	WallMS int64 `json:"wall_ms"`
	// Phases stand in the order in which they began, each depth on its own.
	Phases []LastPhase `json:"phases"`
	// Comparison is what changed from it to the later run, phase after phase, null
	// while that goes on: what is not done yet is no change.
	Comparison *Comparison `json:"comparison"`
}

// LastPhase is how long a phase took then, and what it used.
type LastPhase struct {
	Name   string `json:"name"`
	WallMS int64  `json:"wall_ms"`
	Tokens int64  `json:"tokens"`
}

// LastOf shows the run of that summary beside the later one of that state.
func LastOf(before Summary, later *run.State) Last {
	last := Last{RunRef: refOf(&before), WallMS: before.TotalWallMS, Phases: []LastPhase{}}
	for _, p := range before.Phases {
		for _, depth := range p.Depths {
			last.Phases = append(last.Phases, LastPhase{depthPrefix + depth.Name, depth.WallMS, depth.Tokens})
		}
		if len(p.Depths) == 0 {
			last.Phases = append(last.Phases, LastPhase{p.Name, p.WallMS, p.Tokens})
		}
	}
	if later.Ended() {
		comparison := compareInOrder(before, Summarize(later))
		last.Comparison = &comparison
	}
	return last
}
