package run

import "github.com/obsrun/obsrun/instrument/telemetry"

// sort is what the kind of a span says of it, once looked at.
type sort uint8

const (
	aTask sort = iota // and everything else that is none of these
	anAgent
	aPhase // discovery is one
	anOrchestrator
	aTool
	aCall // of an LLM
	aProcess
)

func sortOf(kind string) sort {
	switch kind {
	case telemetry.KindPhase, telemetry.KindDiscovery:
		return aPhase
	case telemetry.KindOrchestrator:
		return anOrchestrator
	case telemetry.KindTool:
		return aTool
	case telemetry.KindLLM:
		return aCall
	case telemetry.KindProcess:
		return aProcess
	}
	if telemetry.IsAgent(kind) {
		return anAgent
	}
	return aTask
}

// standing is the state of a span as a number.
type standing uint8

const (
	isQueued standing = iota
	isRunning
	isStalled
	isDone
	isFailed
	isCancelled
	isLost
	standingCount
)

var standings = [standingCount]string{
	isQueued: Queued, isRunning: Running, isStalled: Stalled, isDone: Done, isFailed: Failed, isCancelled: Cancelled, isLost: Lost,
}

// tally counts spans by where they stand.
type tally [standingCount]int
