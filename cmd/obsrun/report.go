package main

import (
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/report/export"
)

func reportCommand(w world) *cli.Command {
	return &cli.Command{
		Name: "report", Usage: "what a run did, or what changed from run to run",
		UsageText: "obsrun report [flags] [RUN]\nobsrun report --compare [flags] A B\nobsrun report --trend MEASURE [flags] [SET]",
		Description: "RUN is a run directory, a telemetry.jsonl or run_summary.json in one, a run id or the\n" +
			"beginning of one, latest, or latest~N. Default: latest.\n\n" +
			"A and B are runs or sets of runs. A SET is a pattern in quotes ('logs/eigenda-202604*'), a\n" +
			"range by start time (latest~5..latest~1), or a list with commas. Sets get a verdict: PASS,\n" +
			"REGRESSED or INCONCLUSIVE. A difference counts where the Mann-Whitney U test has p < 0.05 and\n" +
			"the medians differ by more than the measure's limit: that of --threshold, else 5 % of wall\n" +
			"time, tokens and cost, and any more errors, lost agents and stalls or fewer analyses. Four\n" +
			"runs on each side can be enough to tell.\n\n" +
			"Exit status of --compare: 0; 3 where a threshold was crossed or a set regressed; 4 with\n" +
			"--strict where there is no verdict.",
		Flags: []cli.Flag{
			logDirFlag(),
			&cli.BoolFlag{Name: "compare", Usage: "compare run or set A to run or set B"},
			&cli.StringSliceFlag{Name: "threshold", Usage: "exit 3 when the comparison crosses this `LIMIT`, as in 'total_wall_ms>10%,errors>0'; repeatable"},
			&cli.StringFlag{Name: "prices", Usage: "estimate the cost by the prices in this YAML or JSON `FILE`, in US dollars a million tokens: models: {NAME: {input: 3, output: 15, cached: 0.3}}"},
			&cli.BoolFlag{Name: "strict", Usage: "exit 4 when the comparison has too few or too noisy runs for a verdict"},
			&cli.StringFlag{Name: "trend", Usage: "show this `MEASURE` from run to run, as in total_wall_ms or phases.synthesis.wall_ms"},
			&cli.IntFlag{Name: "last", Value: defaultTrend, Usage: "the trend of the newest `N` runs"},
			&cli.StringFlag{Name: "format", Value: "text", Usage: "`FORMAT`: text, json, markdown, or html for a run"},
		},
		Action: func(c *cli.Context) error {
			if err := applyFile(c); err != nil {
				return err
			}
			format, err := formatNamed(c, "text", "json", "markdown", "html")
			if err != nil {
				return err
			}
			switch {
			case c.Bool("compare") && c.IsSet("trend"):
				return usagef("--compare and --trend are two reports: ask for one")
			case c.Bool("compare"):
				return compareCommand(c, w, format)
			case len(c.StringSlice("threshold")) > 0, c.Bool("strict"):
				return usagef("--threshold and --strict are for --compare")
			case c.IsSet("trend"):
				return trendCommand(c, w, format)
			case c.IsSet("prices") && format == "markdown":
				return usagef("--format markdown has no --prices: say text, json or html")
			case c.IsSet("last"):
				return usagef("--last is for --trend")
			}
			ref := "latest"
			switch c.NArg() {
			case 0:
			case 1:
				ref = c.Args().First()
			default:
				return usagef("report takes one RUN; to compare two, write: obsrun report --compare %s", strings.Join(c.Args().Slice(), " "))
			}
			return reportOf(c, w, ref, format)
		},
	}
}

// reportOf is the report of one run.
func reportOf(c *cli.Context, w world, ref, format string) error {
	var prices *report.Prices
	if path := c.String("prices"); path != "" {
		table, err := readPrices(path)
		if err != nil {
			return err
		}
		prices = &table
	}
	logDir := c.String("log-dir")
	if format == "markdown" {
		dir, err := run.Find(logDir, ref)
		if err != nil {
			return err
		}
		loaded, err := loadedIn(dir, w)
		if err != nil {
			return err
		}
		return export.Markdown(w.stdout, export.Run{State: loaded.State, Dir: dir, Version: version})
	}
	summary, err := summaryOf(logDir, ref, w)
	if err != nil {
		return err
	}
	if prices != nil {
		estimate := summary.Estimate(*prices)
		summary.CostEstimate = &estimate
	}
	switch format {
	case "json":
		return report.WriteJSON(w.stdout, summary)
	case "html":
		return report.HTML(w.stdout, summary)
	}
	return report.Text(w.stdout, summary, textOptions(w.stdout))
}

func formatFlag() cli.Flag {
	return &cli.StringFlag{Name: "format", Value: "text", Usage: "`FORMAT`: text or json"}
}

func formatOf(c *cli.Context) (string, error) {
	format := c.String("format")
	if format != "text" && format != "json" {
		return "", usagef("--format %s: say text or json", format)
	}
	return format, nil
}

// textOptions are what the reader of f can make use of.
func textOptions(f *os.File) report.TextOptions {
	if !isTerminal(f) {
		return report.TextOptions{}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 80
	}
	return report.TextOptions{Width: width, Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}
