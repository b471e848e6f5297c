package report

import (
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// ReadRow reads from a run_summary.json what a row needs. Write puts that in front
// of the agents, which are most of a summary, so those are not read: a list of
// thousands of runs takes a small part of the time that reading them would.
// A summary that it can not make a row of gives ReadSummary's error.
func ReadRow(path string) (Row, error) {
	row, err := readRow(path)
	if err == nil {
		return row, nil
	}
	s, err := ReadSummary(path)
	if err != nil {
		return Row{}, err
	}
	return RowOf(s, filepath.Dir(path)), nil
}

var errNoRow = errors.New("no row to be read")

// rowHead is how much of a summary is looked at for a row, in bytes.
const rowHead = 16 << 10

// heads has memory for heads, to be used again.
var heads = sync.Pool{New: func() any { return new([rowHead]byte) }}

func readRow(path string) (Row, error) {
	f, err := run.Open(path)
	if err != nil {
		return Row{}, err
	}
	defer f.Close()
	room := heads.Get().(*[rowHead]byte)
	defer heads.Put(room)
	head := room[:]
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Row{}, err
	}
	row := Row{Dir: filepath.Dir(path)}
	var totals struct {
		Agents int64 `json:"agents_spawned"`
		Tokens int64 `json:"total_tokens"`
		Errors int64 `json:"errors"`
		Lost   int64 `json:"lost"`
	}
	schema := 0
	wanted := map[string]any{
		"schema": &schema, "run_id": &row.RunID, "status": &row.Status, "started_at": &row.StartedAt,
		"total_wall_ms": &row.TotalWallMS, "totals": &totals,
	}
	for b := (cursor{b: head[:n]}); len(wanted) > 0; {
		key, value := b.member()
		if value == nil {
			return Row{}, errNoRow
		}
		name := string(key[1 : len(key)-1])
		if strings.Contains(name, "\\") {
			if err := json.Unmarshal(key, &name); err != nil {
				return Row{}, err
			}
		}
		field, ok := wanted[name]
		if !ok {
			continue
		}
		delete(wanted, name)
		if err := json.Unmarshal(value, field); err != nil {
			return Row{}, err
		}
	}
	row.Agents, row.Tokens, row.Errors, row.Lost = totals.Agents, totals.Tokens, totals.Errors, totals.Lost
	for _, n := range []int64{row.TotalWallMS, row.Agents, row.Tokens, row.Errors, row.Lost} {
		if !believable(float64(n)) {
			return Row{}, errNoRow
		}
	}
	if schema < 0 || schema > telemetry.SchemaVersion || !utf8.ValidString(row.RunID+row.Status+row.StartedAt) {
		return Row{}, errNoRow
	}
	return row, nil
}

// cursor goes through the members of the JSON object that b begins with, without
// looking into their values. b may be cut off.
type cursor struct {
	b []byte
	i int
}

// member gives the next key and value; nil where there is none, or none that ends.
func (c *cursor) member() (key, value []byte) {
	if c.i == 0 {
		if c.space(); c.at() != '{' {
			return nil, nil
		}
	} else if c.space(); c.at() != ',' {
		return nil, nil
	}
	c.i++
	c.space()
	if key = c.value(); len(key) == 0 || key[0] != '"' {
		return nil, nil
	}
	if c.space(); c.at() != ':' {
		return nil, nil
	}
	c.i++
	c.space()
	if value = c.value(); len(value) == 0 {
		return nil, nil
	}
	return key, value
}

// at is the byte that is next, 0 at the end.
func (c *cursor) at() byte {
	if c.i < len(c.b) {
		return c.b[c.i]
	}
	return 0
}

func (c *cursor) space() {
	for c.at() == ' ' || c.at() == '\n' || c.at() == '\t' || c.at() == '\r' {
		c.i++
	}
}

// value passes a value; nil where its end is not there.
func (c *cursor) value() []byte {
	from, depth, inString := c.i, 0, false
	for ; c.i < len(c.b); c.i++ {
		switch ch := c.b[c.i]; {
		case inString && ch == '\\':
			c.i++
		case ch == '"':
			if inString = !inString; !inString && depth == 0 {
				c.i++
				return c.b[from:c.i]
			}
		case inString:
		case ch == '{' || ch == '[':
			depth++
		case (ch == '}' || ch == ']') && depth > 0:
			if depth--; depth == 0 {
				c.i++
				return c.b[from:c.i]
			}
		case depth == 0 && (ch == ',' || ch == '}' || ch == ']' || ch == ':' || ch == ' ' || ch == '\n'):
			return c.b[from:c.i]
		}
	}
	return nil
}
