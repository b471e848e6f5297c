package export

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/obsrun/obsrun/report"
)

// CSV writes the spans as comma-separated values: a line with the columns' names,
// then one line for each Row, quoted as RFC 4180 has it, with lines that end in a
// newline alone.
//
// A table in this form is opened in spreadsheets, and its text comes from programs
// that read foreign code. So characters that show nothing or steer a terminal are
// written as escapes (report.Visible), line ends among them, and a text that a
// spreadsheet would take for a formula has an apostrophe before it; so has one that
// begins with an apostrophe, so that taking one away gives the text. Numbers are as
// they are. Programs that want the text itself read jsonl or parquet.
func CSV(w io.Writer, r Run) error {
	out := csv.NewWriter(w)
	if err := out.Write(columns()); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	record := make([]string, 0, len(columns()))
	for row := range rows(r.State) {
		record = record[:0]
		for _, cell := range row.cells() {
			text, err := cellText(cell)
			if err != nil {
				return fmt.Errorf("write CSV: %w", err)
			}
			record = append(record, text)
		}
		if err := out.Write(record); err != nil {
			return fmt.Errorf("write CSV: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

func cellText(cell any) (string, error) {
	switch cell := cell.(type) {
	case string:
		return noFormula(report.Visible(cell)), nil
	case bool:
		return strconv.FormatBool(cell), nil
	case int64:
		return strconv.FormatInt(cell, 10), nil
	case float64:
		return strconv.FormatFloat(cell, 'f', -1, 64), nil
	case json.RawMessage: // begins with a brace, so no formula
		b, err := compactJSON(cell)
		return string(b), err
	}
	return "", nil
}

// formulas are what formulas begin with, by the list of OWASP
// (https://owasp.org/www-community/attacks/CSV_Injection): full-width signs too.
// Tabs and line ends, which stand there as well, are escapes already.
const formulas = "=+-@＝＋－＠"

func noFormula(text string) string {
	if text != "" && strings.IndexAny(text, formulas+"'") == 0 {
		return "'" + text
	}
	return text
}
