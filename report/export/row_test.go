package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/report"
)

func records(t *testing.T, b []byte) (header []string, records [][]string) {
	t.Helper()
	all, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	require.NoError(t, err)
	return all[0], all[1:]
}

// The columns are a promise: new ones come at the end.
func TestColumns(t *testing.T) {
	want := strings.Fields(`run_id seq span_id parent_id agent_id same_as name component kind is_agent phase source state
		queued_ms start_ms end_ms offset_ms duration_ms wall_ms attempts tokens input_tokens output_tokens cached_tokens tool_uses
		cost_usd reported stalls error message attrs`)
	assert.Equal(t, want, columns()[:len(want)])
	header, _ := records(t, written(t, "csv", recorded(t, "empty")))
	assert.Equal(t, columns(), header)
}

func TestRows(t *testing.T) {
	r := recorded(t, "troubled")
	byID := make(map[string]Row)
	for row := range rows(r.State) {
		require.NotContains(t, byID, row.SpanID)
		byID[row.SpanID] = row
	}
	ms := func(n int64) *int64 { return &n }
	root, retried, never := byID["r"], byID["d1-1"], byID["never"]
	assert.Equal(t, []any{int64(0), "", "error", int64(13563), ms(300000)}, []any{root.Seq, root.ParentID, root.State, root.Tokens, root.DurationMS})
	assert.Equal(t, []any{int64(2), ms(500), int64(2380), ms(6000)}, []any{retried.Attempts, retried.DurationMS, retried.WallMS, retried.OffsetMS})
	assert.Equal(t, []any{"lost", (*int64)(nil), (*int64)(nil), (*int64)(nil), false}, []any{never.State, never.StartMS, never.OffsetMS, never.DurationMS, never.Reported})
	assert.Equal(t, "x6", byID["t1"].AgentID)
	assert.Equal(t, int64(1), byID["x6"].Stalls)
	assert.True(t, byID["x6"].IsAgent)
}

// All three tables tell the same; only csv is made harmless.
func TestTablesAgree(t *testing.T) {
	troubled, harmful := recorded(t, "troubled"), Run{}
	harmful, texts := hostile(t)
	for _, r := range []Run{troubled, recorded(t, "eigenda-planned"), recorded(t, "killed"), harmful} {
		want := slices.Collect(rows(r.State))
		assert.Equal(t, want, parquetRows(t, written(t, "parquet", r)))

		_, table := records(t, written(t, "csv", r))
		lines := bytes.Split(bytes.TrimSpace(written(t, "jsonl", r)), []byte("\n"))
		require.Len(t, table, len(want))
		require.Len(t, lines, len(want))
		for i := range want {
			var got Row
			require.NoError(t, json.Unmarshal(lines[i], &got))
			if string(got.Attrs) == "null" {
				got.Attrs = nil
			}
			if want[i].Attrs != nil {
				assert.JSONEq(t, string(want[i].Attrs), string(got.Attrs))
				got.Attrs = want[i].Attrs
			}
			assert.Equal(t, want[i], got)
			for k, cell := range want[i].cells() {
				switch cell := cell.(type) {
				case string:
					assert.Equal(t, report.Visible(cell), unprefixed(table[i][k]))
				case json.RawMessage:
					assert.JSONEq(t, string(cell), table[i][k])
				case nil:
					assert.Empty(t, table[i][k])
				}
			}
		}
	}
	assert.Greater(t, len(texts), 30)
}

func unprefixed(cell string) string { return strings.TrimPrefix(cell, "'") }

func TestNoFormula(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a": "a", "a=1": "a=1", "=1": "'=1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "'": "''", "'=1": "''=1", "＠x": "'＠x", " =1": " =1",
	} {
		assert.Equal(t, want, noFormula(text))
	}
	r, _ := hostile(t)
	header, table := records(t, written(t, "csv", r))
	for _, record := range table {
		for i, cell := range record {
			if cell != "" && !slices.Contains([]string{"offset_ms"}, header[i]) {
				assert.NotContains(t, "=+-@\t\r＝＋－＠", string([]rune(cell)[:1]), cell)
			}
		}
	}
}

// Python's csv and json modules read what was written.
func TestPythonReadsTables(t *testing.T) {
	const script = `
import csv, json, sys
csv.field_size_limit(10**9)
table = list(csv.DictReader(open(sys.argv[1], newline="", encoding="utf-8"), strict=True))
lines = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8")]
assert len(table) == len(lines), (len(table), len(lines))
for record, line in zip(table, lines):
    assert list(record) == list(line), record
    for key, value in line.items():
        if isinstance(value, bool): assert record[key] == ("true" if value else "false"), (key, value, record[key])
        elif isinstance(value, (int, float)): assert float(record[key]) == value, (key, value, record[key])
        elif isinstance(value, dict): assert json.loads(record[key]) == value
        elif value is None: assert record[key] == ""
print(len(table))
`
	harmful, texts := hostile(t)
	assert.Equal(t, "25\n", string(output(t, "python3", "-c", script, writtenFile(t, "csv", recorded(t, "troubled")), writtenFile(t, "jsonl", recorded(t, "troubled")))))
	assert.Contains(t, string(output(t, "python3", "-c", script, writtenFile(t, "csv", harmful), writtenFile(t, "jsonl", harmful))), "\n")
	assert.NotEmpty(t, texts)
}

// DuckDB reads all three, and sees the same in them.
func TestDuckDBReadsTables(t *testing.T) {
	_, err := os.Stat("../../testdata/export/.tools/package.json")
	require.NoError(t, err, "run make tools")
	harmful, _ := hostile(t)
	for _, r := range []Run{recorded(t, "troubled"), harmful} {
		script, err := filepath.Abs("../../testdata/export/tables.mjs")
		require.NoError(t, err)
		comma := writtenFile(t, "csv", r)
		var got struct {
			Types               map[string]string
			Parquet, JSONL, CSV []map[string]any
		}
		require.NoError(t, json.Unmarshal(output(t, "node", script, writtenFile(t, "parquet", r), writtenFile(t, "jsonl", r), comma), &got))
		for column, want := range map[string]string{
			"seq": "BIGINT", "name": "VARCHAR", "is_agent": "BOOLEAN", "start_ms": "TIMESTAMP WITH TIME ZONE", "duration_ms": "BIGINT", "cost_usd": "DOUBLE", "attrs": "VARCHAR",
		} {
			assert.Equal(t, want, got.Types[column], column)
		}
		b, err := os.ReadFile(comma)
		require.NoError(t, err)
		header, table := records(t, b)
		require.Len(t, got.Parquet, len(table))
		require.Len(t, got.CSV, len(table))
		for i := range got.Parquet {
			delete(got.Parquet[i], "attrs") // an object in jsonl
			delete(got.JSONL[i], "attrs")
			for k, cell := range table[i] {
				value, _ := got.CSV[i][header[k]].(string)
				assert.Equal(t, cell, value, header[k])
			}
		}
		assert.Equal(t, got.Parquet, got.JSONL)
	}
}
