// Package report makes documents about runs: the summary of one run, the
// comparison of two, and the list of many; each as JSON and as text for a person.
// It is the one place where files are replaced atomically.
//
// Caveats first. It reads no clock and interprets no event: what a span's tokens
// or a phase's wall time are was decided by run.State, and a document is a pure
// function of that. It makes no claim of significance: a comparison of two runs
// says what differs, not why. What it prints is not meant to be parsed; the JSON
// documents are, and their names are stable.
//
// Names, messages and commands come from programs that read foreign code, so all
// text goes through one printer that makes control characters visible.
package report
