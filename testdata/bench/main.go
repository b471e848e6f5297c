package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// rows are what can be measured, in the order of the table.
var rows = []row{
	startup,
	terminal,
	keys,
	socket,
	otlp,
	paced,
	flat,
	crowd,
	state,
	screen,
	documents,
	comparison,
	list,
	quiet,
	processes,
	gateway,
}

func main() {
	var b bench
	var only string
	flag.StringVar(&b.obsrun, "obsrun", "obsrun", "the `PROGRAM` under test")
	flag.StringVar(&b.base, "base", "", "another obsrun to compare with")
	flag.StringVar(&only, "rows", "", "the rows to measure, with commas; all by default")
	flag.IntVar(&b.rounds, "n", 10, "samples of each contender")
	flag.Parse()
	if err := measure(&b, only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(b *bench, only string) error {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	for _, path := range []*string{&b.obsrun, &b.base} {
		if *path != "" {
			if *path, err = filepath.Abs(*path); err != nil {
				return err
			}
		}
	}
	if b.repo, err = filepath.Abs("../.."); err != nil {
		return err
	}
	fmt.Printf("%s/%s, %d cores, medians of %d\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), b.rounds)
	var done []result
	for _, r := range chosen {
		fmt.Fprintf(os.Stderr, "--- %s: %s\n", r.name, r.work)
		lines, err := b.row(r)
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", r.name, err)
		}
		done = append(done, result{r, lines, err})
	}
	return table(os.Stdout, done)
}

// choose gives the rows of these names.
func choose(only string) ([]row, error) {
	if only == "" {
		return rows, nil
	}
	var chosen []row
	for name := range strings.SplitSeq(only, ",") {
		found := false
		for _, r := range rows {
			if r.name == strings.TrimSpace(name) {
				chosen, found = append(chosen, r), true
			}
		}
		if !found {
			var names []string
			for _, r := range rows {
				names = append(names, r.name)
			}
			return nil, fmt.Errorf("there is no row %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	return chosen, nil
}
