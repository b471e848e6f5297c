// Package run is what events mean together: the one fold (State.Apply), the pure
// questions about its result, and the one door (Recorder) through which every
// event is stamped, journaled and folded. It also knows a run as a directory.
//
// Caveats first. The fold takes time from events only, never from a clock, so a
// run that is loaded tomorrow equals the run that was seen live. It is total: no
// input makes it fail. What it can not believe it ignores, and keeps the line.
// What several sources tell of one agent it takes for one agent where a component
// or an LLM call says so (same.go), and counts once (flow.go); where neither does,
// they stand side by side. A State is not safe for concurrent use; Feed guards one.
package run
