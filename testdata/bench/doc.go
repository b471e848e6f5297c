// Command bench measures obsrun against named peers, side by side on the same
// machine in the same call, and prints one table. `make bench` builds what it needs
// and runs it; `make bench ROWS=startup,keys` runs some rows.
//
// What it is not, first: it is no test, and CI does not run it. A busy machine gives
// noisy figures; what counts is the ratio, since ours and the peer's samples are taken
// in turn, round by round. A peer that is not installed is said to be absent, and its
// lines decide nothing. Only the arithmetic has tests.
//
// It is a module of its own, so that no peer gets into the project's go.mod.
//
// # A row
//
// A row is one piece of work, in a file of its own, and an entry of the slice in main.go:
//
//	var startup = row{
//		name: "startup", // make bench ROWS=startup
//		work: "obsrun --no-open -- true, everything on",
//		run: func(b *bench) ([]line, error) { ... },
//	}
//
// run gives the lines of the table. A line compares samples of ours with those of one
// peer, in one unit, and has a goal:
//
//	samples, err := b.inTurn(
//		contender{"obsrun", func() (sample, error) { ... }},
//		contender{"bare creack/pty", func() (sample, error) { ... }},
//	)
//	return []line{
//		{what: "wall", unit: "ms", ours: samples[0].of("wall"), peer: "bare creack/pty",
//			theirs: samples[1].of("wall"), goal: atMost(2.5)},
//	}, err
//
// goal is [atMost] or [atLeast] of the ratio ours / theirs, or [within] and [beyond] for
// an absolute figure, which needs no peer. [bench.inTurn] calls each contender once to
// warm up and then b.rounds times, in turn; a sample is what one call measured, by name,
// so one call can serve several lines.
//
// b.obsrun is the binary under test, b.dir an empty directory for the row, b.repo the
// project's root, b.peer(name) the path of a program that was installed, or built into
// .tools by the script tools, empty where it is not there. What a Go peer needs goes
// into this module's go.mod.
//
// With BASE=/path/to/another/obsrun each row may compare with that, too: see b.base.
package main
