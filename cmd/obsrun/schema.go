package main

import (
	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/report"
)

func schemaCommand(w world) *cli.Command {
	return &cli.Command{
		Name: "schema", Usage: "the JSON Schema of what obsrun writes", UsageText: "obsrun schema events|summary",
		Description: "events: a line of telemetry.jsonl, and what a client may send. summary: run_summary.json.\nBoth are JSON Schema 2020-12.",
		Action: func(c *cli.Context) error {
			schemas := map[string][]byte{"events": report.EventSchema, "summary": report.SummarySchema}
			text, ok := schemas[c.Args().First()]
			if !ok || c.NArg() != 1 {
				return usagef("say which: obsrun schema events, or obsrun schema summary")
			}
			_, err := w.stdout.Write(text)
			return err
		},
	}
}
