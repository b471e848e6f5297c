package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// documents is what it takes to read a large run, against DuckDB, which reads the same
// file for one sum with the column's type given.
var documents = row{
	name: "report",
	work: "a journal of 1 M events, 226 MB, 100,000 spans",
	run: func(b *bench) ([]line, error) {
		logs := filepath.Join(b.dir, "logs")
		if err := bigRun(logs, "big-20260408-aaaaaa", 0); err != nil {
			return nil, err
		}
		journal := filepath.Join(logs, "big-20260408-aaaaaa", "telemetry.jsonl")
		report := func(path string) func() (sample, error) {
			return b.read(path, "report", "--log-dir", logs, "big-20260408-aaaaaa")
		}
		all, err := b.inTurn(contender{"obsrun", report(b.obsrun)}, contender{"DuckDB", b.duckDB(journal)}, contender{"base", report(b.base)})
		if err != nil {
			return nil, err
		}
		lines := []line{
			{"wall", "ms", all[0].of("wall"), "DuckDB, one sum", all[1].of("wall"), atMost(0.75)},
			{"CPU", "ms", all[0].of("CPU"), "DuckDB, one sum", all[1].of("CPU"), goal{}},
			{"memory", "MB", all[0].of("memory"), "", nil, within(256)},
		}
		if b.base != "" {
			lines = append(lines, line{"wall", "ms", all[0].of("wall"), "base", all[2].of("wall"), goal{}},
				line{"CPU", "ms", all[0].of("CPU"), "base", all[2].of("CPU"), goal{}})
		}
		return lines, nil
	},
}

// comparison is two large runs against one.
var comparison = row{
	name: "compare",
	work: "two journals of 1 M events against the report of one",
	run: func(b *bench) ([]line, error) {
		logs := filepath.Join(b.dir, "logs")
		for i, id := range []string{"big-20260408-aaaaaa", "big-20260408-bbbbbb"} {
			if err := bigRun(logs, id, i); err != nil {
				return nil, err
			}
		}
		all, err := b.inTurn(
			contender{"compare", b.read(b.obsrun, "report", "--log-dir", logs, "--compare", "big-20260408-aaaaaa", "big-20260408-bbbbbb")},
			contender{"report", b.read(b.obsrun, "report", "--log-dir", logs, "big-20260408-aaaaaa")},
		)
		if err != nil {
			return nil, err
		}
		return []line{
			{"wall", "ms", all[0].of("wall"), "obsrun report", all[1].of("wall"), atMost(2)},
			{"CPU for wall", "cores", ratios(all[0].of("CPU"), all[0].of("wall")), "", nil, goal{}},
		}, nil
	},
}

func ratios(over, under []float64) []float64 {
	out := make([]float64, len(over))
	for i := range out {
		out[i] = over[i] / under[i]
	}
	return out
}

// list is a directory of many runs, each with its summary and a small journal.
var list = row{
	name: "list",
	work: "10,000 runs, with nothing remembered",
	run: func(b *bench) ([]line, error) {
		logs := filepath.Join(b.dir, "logs")
		if err := manyRuns(b, logs, 10_000); err != nil {
			return nil, err
		}
		all, err := b.inTurn(contender{"obsrun", b.read(b.obsrun, "list", "--log-dir", logs)}, contender{"base", b.read(b.base, "list", "--log-dir", logs)})
		if err != nil {
			return nil, err
		}
		lines := []line{{"wall", "ms", all[0].of("wall"), "", nil, within(1000)}}
		if b.base != "" {
			lines = append(lines, line{"wall", "ms", all[0].of("wall"), "base", all[1].of("wall"), goal{}})
		}
		return lines, nil
	},
}

func manyRuns(b *bench, logs string, n int) error {
	from := filepath.Join(b.repo, "testdata", "runs", "eigenda-planned")
	files := make(map[string][]byte)
	for _, name := range []string{"telemetry.jsonl", "run_summary.json"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		files[name] = data
	}
	for i := range n {
		id := fmt.Sprintf("eigenda-20260408-%06x", i)
		dir := filepath.Join(logs, id)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		files["run.json"] = fmt.Appendf(nil, `{"run_id":%q,"pid":1,"started":%q}`, id, time.Unix(1775606400+int64(i), 0).UTC().Format(time.RFC3339))
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// read runs a program whose output nobody looks at: its wall and CPU time in
// milliseconds, the most memory that it had in MB.
func (b *bench) read(path string, args ...string) func() (sample, error) {
	if path == "" {
		return nil
	}
	return func() (sample, error) {
		cmd := exec.Command(path, args...)
		cmd.Dir = b.dir
		begun := time.Now()
		out, err := cmd.CombinedOutput()
		wall := time.Since(begun)
		if err != nil {
			return nil, fmt.Errorf("run %s: %w\n%s", filepath.Base(path), err, out)
		}
		return sample{"wall": ms(wall), "CPU": ms(cpu(cmd)), "memory": peak(cmd)}, nil
	}
}

// peak is the most resident memory that a program had, in MB.
func peak(cmd *exec.Cmd) float64 {
	used := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if runtime.GOOS == "darwin" { // in bytes there
		return float64(used.Maxrss) / 1e6
	}
	return float64(used.Maxrss) * 1024 / 1e6
}

// duckDB sums one column of a journal with the DuckDB that the export tests have, by
// way of Node.js; the time is that of the query alone.
func (b *bench) duckDB(journal string) func() (sample, error) {
	modules := filepath.Join(b.repo, "testdata", "export", ".tools")
	if _, err := os.Stat(filepath.Join(modules, "node_modules", "@duckdb")); err != nil || b.peer("node") == "" {
		return nil
	}
	const script = `
const { DuckDBInstance } = require('@duckdb/node-api');
(async () => {
	const db = await (await DuckDBInstance.create(':memory:')).connect();
	const began = process.hrtime.bigint(), used = process.cpuUsage();
	await db.runAndReadAll("select sum(tokens) from read_json(?, format='newline_delimited', columns={tokens: 'BIGINT'})".replace('?', "'" + process.argv[1] + "'"));
	const cpu = process.cpuUsage(used);
	console.log(Number(process.hrtime.bigint() - began) / 1e6, (cpu.user + cpu.system) / 1e3);
})();`
	return func() (sample, error) {
		cmd := exec.Command(b.peer("node"), "-e", script, journal)
		cmd.Dir, cmd.Stderr = modules, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("run DuckDB: %w", err)
		}
		said := bytes.Fields(out)
		if len(said) != 2 {
			return nil, fmt.Errorf("run DuckDB: it said %q", out)
		}
		wall, _ := strconv.ParseFloat(string(said[0]), 64)
		used, _ := strconv.ParseFloat(string(said[1]), 64)
		return sample{"wall": wall, "CPU": used}, nil
	}
}
