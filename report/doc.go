// Package report makes documents about runs: the summary of one run, the
// comparison of two or of two sets, the trend and the list of many; as JSON, as
// text for a person, as Markdown or HTML for a page. It has the JSON Schemas of
// what obsrun writes, and is the one place where files are replaced atomically.
//
// Caveats first. It reads no clock and interprets no event: what a span's tokens
// or a phase's wall time are was decided by run.State, and a document is a pure
// function of that. A comparison of two runs makes no claim of significance; one of
// sets does, measure by measure, and testing several measures finds more
// differences that are none. Causes and what-ifs are arithmetic on sums: they do
// not know what waited for what. An estimated cost is none that was told, and is
// as old as its prices. What it prints is not meant to be parsed; the JSON
// documents are, and their names are stable.
//
// Names, messages and commands come from programs that read foreign code, so all
// text goes through one printer that makes control characters visible.
package report
