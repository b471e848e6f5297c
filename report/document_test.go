package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

// published is the shape that the first users were shown.
const published = `{
  "run_id": "eigenda-20260408-abc123",
  "source_repo": "https://github.com/Layr-Labs/eigenda",
  "source_commit": "61019b4",
  "total_wall_ms": 312500,
  "phases": {
    "discovery": { "wall_ms": 1200 },
    "library_depth_0": { "wall_ms": 68400, "agents": 9 },
    "library_depth_n": { "wall_ms": 112000, "agents": 15 },
    "application_analysis": { "wall_ms": 98000, "agents": 10 },
    "synthesis": { "wall_ms": 32900, "agents": 1 }
  },
  "totals": {
    "agents_spawned": 35,
    "total_tokens": 1842000,
    "total_tool_uses": 847,
    "analyses_written": 45
  }
}`

func TestPublishedShapeIsRead(t *testing.T) {
	s, err := ParseSummary([]byte(published))
	require.NoError(t, err)
	require.Equal(t, 1, s.Schema)
	require.Equal(t, int64(312500), s.TotalWallMS)
	require.Equal(t, []string{"discovery", "library_depth_0", "library_depth_n", "application_analysis", "synthesis"}, phaseNames(s.Phases))
	require.Equal(t, int64(1842000), s.Totals.TotalTokens)
	require.NotNil(t, s.Agents)

	c := Compare(s, loadSummary(t, "../testdata/runs/eigenda-planned"))
	for _, name := range []string{"total_wall_ms", "agents_spawned", "total_tokens", "total_tool_uses", "analyses_written"} {
		change, ok := c.Totals.Find(name)
		require.True(t, ok, name)
		require.Zero(t, change.Diff, name)
	}
	for _, p := range c.Phases {
		require.Equal(t, Both, p.In, p.Name)
		wall, _ := p.Values.Find("wall_ms")
		require.Zero(t, wall.Diff, p.Name)
	}
	for width := range 60 {
		require.NoError(t, Text(&bytes.Buffer{}, s, TextOptions{Width: width}))
	}
}

func TestReadSummaryRefuses(t *testing.T) {
	good := `{"run_id":"x","total_wall_ms":1,"phases":{},"totals":{}}`
	_, err := ParseSummary([]byte(good))
	require.NoError(t, err)
	for name, tc := range map[string]struct{ text, says string }{
		"empty":             {"", "empty"},
		"blank":             {" \n\t\n", "empty"},
		"cut off":           {good[:30], "cut off after 30 bytes"},
		"an array":          {"[" + good + "]", "no JSON object"},
		"null":              {"null", "no JSON object"},
		"a number":          {"12", "no JSON object"},
		"HTML":              {"<!doctype html><p>not found", "no JSON object"},
		"binary":            {"\x7fELF\x00\x01", "binary"},
		"bad UTF-8":         {`{"run_id":"` + "\xff" + `"}`, "binary"},
		"NUL":               {"{\x00}", "binary"},
		"UTF-16":            {"{\x00\"\x00", "binary"},
		"NaN":               {strings.Replace(good, "1,", "NaN,", 1), "not valid JSON at byte"},
		"two documents":     {good + "\n" + good, "not valid JSON at byte"},
		"a journal":         {`{"event":"log","message":"a"}` + "\n" + `{"event":"log","message":"b"}`, "not valid JSON"},
		"one journal line":  {`{"event":"log","message":"a"}`, `no "run_id"`},
		"an object":         {"{}", `no "run_id"`},
		"no totals":         {`{"run_id":"x","total_wall_ms":1,"phases":{}}`, `no "totals"`},
		"null phases":       {`{"run_id":"x","total_wall_ms":1,"phases":null,"totals":{}}`, `no "phases"`},
		"other case":        {`{"RUN_ID":"x","total_wall_ms":1,"phases":{},"totals":{}}`, `no "run_id"`},
		"wrong type":        {strings.Replace(good, `"x"`, "7", 1), `"run_id" can not be a JSON number`},
		"wall as text":      {strings.Replace(good, ":1,", `:"1",`, 1), `"total_wall_ms" can not be a JSON string`},
		"a fraction":        {strings.Replace(good, ":1,", `:1.5,`, 1), `"total_wall_ms" can not be a JSON number 1.5`},
		"overflow":          {strings.Replace(good, ":1,", `:1e999,`, 1), `"total_wall_ms" can not be`},
		"negative":          {strings.Replace(good, ":1,", `:-1,`, 1), "total_wall_ms is -1"},
		"absurd":            {strings.Replace(good, ":1,", `:9223372036854775807,`, 1), "which no run has"},
		"phases as a list":  {strings.Replace(good, `"phases":{}`, `"phases":[]`, 1), "no JSON object"},
		"phase as number":   {strings.Replace(good, `"phases":{}`, `"phases":{"a\u001b":3}`, 1), `phase "a\x1b"`},
		"phase twice":       {strings.Replace(good, `"phases":{}`, `"phases":{"a":{},"a":{}}`, 1), "twice"},
		"negative phase":    {strings.Replace(good, `"phases":{}`, `"phases":{"a":{"tokens":-4}}`, 1), `tokens of phase "a" is -4`},
		"negative depth":    {strings.Replace(good, `"phases":{}`, `"phases":{"a":{"depths":{"1":{"tokens":-4}}}}`, 1), `tokens of phase "1"`},
		"negative agent":    {strings.Replace(good, `{"run_id"`, `{"agents":[{"id":"a","wall_ms":-4}],"run_id"`, 1), `wall_ms of agent "a"`},
		"agents no list":    {strings.Replace(good, `{"run_id"`, `{"agents":{},"run_id"`, 1), `"agents" can not be a JSON object`},
		"newer":             {strings.Replace(good, `{"run_id"`, `{"schema":2,"run_id"`, 1), "newer obsrun"},
		"newer and unlike":  {`{"schema":99,"runs":[]}`, "newer obsrun"},
		"schema as text":    {strings.Replace(good, `{"run_id"`, `{"schema":"1","run_id"`, 1), `schema is "1"`},
		"negative schema":   {strings.Replace(good, `{"run_id"`, `{"schema":-1,"run_id"`, 1), `schema is -1`},
		"deep":              {strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), "nested deeper"},
		"phases nested":     {strings.Replace(good, `"phases":{}`, `"phases":`+strings.Repeat(`{"a":{"depths":`, 3000)+"{}"+strings.Repeat("}}", 3000), 1), "nested deeper"},
		"a byte order mark": {"\ufeff" + good, "no JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "run_summary.json")
			require.NoError(t, os.WriteFile(path, []byte(tc.text), 0o600))
			_, err := ReadSummary(path)
			require.ErrorContains(t, err, tc.says)
			require.ErrorContains(t, err, path)
			require.Less(t, len(err.Error()), 400+2*len(path))
			require.NotContains(t, err.Error(), "\n")
			if strings.HasPrefix(name, "newer") {
				require.ErrorIs(t, err, ErrNewer)
			} else {
				require.ErrorContains(t, err, "obsrun report "+filepath.Dir(path))
			}
		})
	}
	_, err = ReadSummary(filepath.Join(t.TempDir(), "nothing.json"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "nothing.json")
	_, err = ReadSummary(t.TempDir())
	require.Error(t, err)
}

func TestUnknownFieldsAreLetBe(t *testing.T) {
	s, err := ParseSummary([]byte(`{"schema":1,"run_id":"x","total_wall_ms":1,"phases":{"a":{"wall_ms":1,"colour":"red"}},"totals":{"quarks":3},"more":[1]}`))
	require.NoError(t, err)
	require.Equal(t, int64(1), s.Phases[0].WallMS)
}

func TestWrite(t *testing.T) {
	s := loadSummary(t, "../testdata/runs/troubled")
	dir := t.TempDir()
	path := filepath.Join(dir, "run_summary.json")
	require.NoError(t, s.Write(path))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, json.Valid(b))
	require.True(t, bytes.HasSuffix(b, []byte("}\n")))
	require.True(t, bytes.HasPrefix(b, []byte("{\n  \"schema\": 1,\n")))
	require.Contains(t, string(b), "<script>", "no HTML escapes")
	for _, r := range string(b) {
		require.False(t, r != '\n' && hidden(r), "%U reaches a terminal", r)
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	again, err := ReadSummary(path)
	require.NoError(t, err)
	require.Equal(t, s, again)

	t.Run("a file that others may read becomes private", func(t *testing.T) {
		require.NoError(t, os.Chmod(path, 0o666))
		require.NoError(t, s.Write(path))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	})
	t.Run("a link is replaced, not followed", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "precious")
		require.NoError(t, os.WriteFile(other, []byte("keep"), 0o600))
		link := filepath.Join(t.TempDir(), "run_summary.json")
		require.NoError(t, os.Symlink(other, link))
		require.NoError(t, s.Write(link))
		kept, err := os.ReadFile(other)
		require.NoError(t, err)
		require.Equal(t, "keep", string(kept))
	})
	t.Run("what can not be written leaves nothing behind", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "run_summary.json", "x"), 0o700))
		err := s.Write(filepath.Join(dir, "run_summary.json"))
		require.ErrorContains(t, err, "write "+dir)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.ErrorIs(t, s.Write(filepath.Join(dir, "gone", "run_summary.json")), os.ErrNotExist)
	})
	t.Run("another temporary directory is not used", func(t *testing.T) {
		t.Setenv("TMPDIR", filepath.Join(dir, "nowhere"))
		require.NoError(t, s.Write(path))
	})
}

// A reader sees the old summary or the new one.
func TestWriteIsAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run_summary.json")
	s := loadSummary(t, "../testdata/runs/eigenda-planned")
	require.NoError(t, s.Write(path))
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := ReadSummary(path); err != nil {
				t.Errorf("reader: %v", err)
				return
			}
		}
	})
	for i := range 50 {
		s.TotalWallMS = int64(i)
		if err := s.Write(path); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	group.Wait()
}

func TestWriteJSONSaysWhatFails(t *testing.T) {
	require.Error(t, WriteJSON(&bytes.Buffer{}, func() {}))
	require.ErrorIs(t, WriteJSON(broken{}, 1), os.ErrClosed)
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, os.ErrClosed }

// Whatever is read can be written, read again, compared and shown.
func FuzzParseSummary(f *testing.F) {
	f.Add([]byte(published))
	for _, name := range []string{"eigenda-planned", "troubled", "killed", "empty"} {
		b, err := os.ReadFile(filepath.Join("../testdata/runs", name, "run_summary.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"schema":1,"run_id":"\u202e","total_wall_ms":1e0,"phases":{"":{"depths":{"":{}}}},"totals":{"cost_usd":1e300}}`))
	f.Add([]byte(`{"run_id":"","total_wall_ms":0,"phases":{"":{"depths":{"":{}}}," ":{}},"totals":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSummary(b)
		if err != nil {
			if strings.Contains(err.Error(), "\x1b") {
				t.Fatalf("an escape in the error %q", err)
			}
			return
		}
		first, err := documentJSON(s)
		if err != nil {
			t.Fatalf("write what was read: %v", err)
		}
		again, err := ParseSummary(first)
		if err != nil {
			t.Fatalf("read what was written: %v", err)
		}
		second, err := documentJSON(again)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("it changes by being read: %v\n%s\n%s", err, first, second)
		}
		c := Compare(s, again)
		for _, change := range c.Totals {
			if change.Diff != 0 {
				t.Fatalf("%s differs from itself", change.Name)
			}
		}
		if _, err := documentJSON(c); err != nil {
			t.Fatalf("compare: %v", err)
		}
		for _, width := range []int{0, 1, 20, 80} {
			for _, text := range textsOf(t, s, c, TextOptions{Width: width}) {
				checkText(t, text, width)
			}
		}
	})
}

func TestFuzzSeedsAreSummaries(t *testing.T) {
	s := Summarize(run.NewState())
	b, err := documentJSON(s)
	require.NoError(t, err)
	_, err = ParseSummary(b)
	require.NoError(t, err, "the summary of an empty journal is one too")
}
