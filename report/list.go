package report

import (
	"io"
	"time"
)

// Row is a run in a list of runs.
type Row struct {
	RunID string `json:"run_id"`
	// Status is that of the summary.
	Status string `json:"status"`
	// StartedAt is RFC 3339 in UTC, empty where it is unknown.
	StartedAt   string `json:"started_at"`
	TotalWallMS int64  `json:"total_wall_ms"`
	Agents      int64  `json:"agents_spawned"`
	Tokens      int64  `json:"total_tokens"`
	Errors      int64  `json:"errors"`
	Lost        int64  `json:"lost"`
	// Dir is the run's directory.
	Dir string `json:"dir"`
}

// RowOf is the row of a summary that stands in dir.
func RowOf(s Summary, dir string) Row {
	return Row{
		RunID: s.RunID, Status: s.Status, StartedAt: s.StartedAt, TotalWallMS: s.TotalWallMS,
		Agents: s.Totals.AgentsSpawned, Tokens: s.Totals.TotalTokens, Errors: s.Totals.Errors, Lost: s.Totals.Lost, Dir: dir,
	}
}

// ListText writes the rows as a table, in their order. ERRORS are spans that ended
// error and agents that were lost.
func ListText(w io.Writer, rows []Row, opt TextOptions) error {
	p := newPrinter(w, opt)
	t := table{columns: []column{
		{head: "RUN", flex: true, keep: 9},
		{head: "STARTED (UTC)", keep: 5},
		{head: "STATUS", keep: 8},
		{head: "WALL", right: true, keep: 7},
		{head: "AGENTS", right: true, keep: 4},
		{head: "TOKENS", right: true, keep: 3},
		{head: "ERRORS", right: true, keep: 6},
	}}
	for _, r := range rows {
		started := ""
		if at, err := time.Parse(time.RFC3339, r.StartedAt); err == nil {
			started = at.UTC().Format("2006-01-02 15:04:05")
		}
		errors := fragment{count(plus(r.Errors, r.Lost)), ""}
		if r.Errors+r.Lost > 0 {
			errors.style = red
		}
		t.row(fragment{r.RunID, ""}, fragment{started, ""}, fragment{r.Status, statusStyle(r.Status)}, fragment{duration(r.TotalWallMS), ""},
			fragment{count(r.Agents), ""}, fragment{count(r.Tokens), ""}, errors)
	}
	p.table(t)
	return p.err
}
