package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument/run"
)

// Whatever obsrun.yaml says, it opens the run to nobody and leads nowhere outside
// of the working directory; what is wrong with it is said on one line.
func FuzzDefaults(f *testing.F) {
	for _, seed := range []string{
		"log-dir: runs\nname: x\nstall-timeout: [5m, agent=1m]\n", "log-dir: ../x", "log-dir: [a, /etc]", "listen: 0.0.0.0:0", "Listen: x", "log-dir: {a: b}",
		"a: &a [x, x]\nb: &b [*a, *a]\nname: *b", "<<: {listen: x}", "? [log-dir]\n: x", "log-dir: !!binary Li4=", "quiet: yes\nno-pty: 7", "- 1", "\x00", "log-dir: \"a\\0b\"", "name: !!int 08", "log-dir: ~",
	} {
		f.Add(seed)
	}
	home, err := os.Getwd()
	require.NoError(f, err)
	dir := f.TempDir()
	require.NoError(f, os.Chdir(dir))
	f.Cleanup(func() { _ = os.Chdir(home) })
	f.Fuzz(func(t *testing.T, text string) {
		require.NoError(t, os.WriteFile(defaultsFile, []byte(text), 0o600))
		var listen, logDir string
		var gateway []string
		app := &cli.App{
			Flags: runFlags(), DisableSliceFlagSeparator: true, HideHelp: true, ExitErrHandler: func(*cli.Context, error) {},
			Action: func(c *cli.Context) error {
				err := applyFile(c)
				listen, gateway, logDir = c.String("listen"), c.StringSlice("gateway"), c.String("log-dir")
				return err
			},
		}
		err := app.Run([]string{"obsrun"})
		assert.Equal(t, "127.0.0.1:0", listen)
		assert.Empty(t, gateway)
		if err != nil {
			assert.Contains(t, err.Error(), defaultsFile)
			return
		}
		inside, err := filepath.Rel(dir, absolute(logDir))
		assert.True(t, err == nil && filepath.IsLocal(inside), "log-dir %q", logDir)
	})
}

// A table of prices has prices that add up, or is refused in a sentence.
func FuzzPrices(f *testing.F) {
	for _, seed := range []string{
		"date: 2026-04-01\nmodels:\n  m: {input: 3, output: 15, cached: 0.3}\n", `{"models":{"m":{"input":1e3,"output":0}}}`, "models: {m: {input: .inf, output: .nan}}",
		"models: {m: {input: -1, output: 1}}", "models: {m: {input: 1}}", "models: [1]", "models: {? : {input: 1, output: 1}}", "models: {m: {input: 0x10, output: 0b1}}", "x", "\xff", "a: &a {b: *a}",
	} {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "prices.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		prices, err := readPrices(path)
		if err != nil {
			assert.True(t, strings.HasPrefix(err.Error(), "read prices "+path+": "), err)
			assert.NotContains(t, err.Error(), "struct", "no Go types")
			return
		}
		assert.NotEmpty(t, prices.Models)
		for _, m := range prices.Models {
			for _, usd := range []float64{m.Input, m.Output} {
				assert.True(t, usd >= 0 && !math.IsInf(usd, 0), usd)
			}
			if m.Cached != nil {
				assert.GreaterOrEqual(t, *m.Cached, 0.0)
			}
		}
	})
}

// A run.json is read or refused; RUN finds a run or tells that there is none.
func FuzzManifest(f *testing.F) {
	f.Add(`{"run_id":"x","pid":1,"url":"http://127.0.0.1:1/?token=x","started":"2026-04-08T00:00:00Z","command":["x"],"obsrun_version":"devel"}`, "latest")
	f.Add(`{"pid":"x"}`, "latest~1")
	f.Add(`null`, "../..")
	f.Add("[", "x/../../y")
	dir := f.TempDir()
	of := filepath.Join(dir, "x-20260408-abc123")
	require.NoError(f, os.Mkdir(of, 0o700))
	require.NoError(f, os.WriteFile(run.JournalPath(of), nil, 0o600))
	require.NoError(f, os.Symlink(filepath.Base(of), filepath.Join(dir, "latest")))
	f.Fuzz(func(t *testing.T, text, name string) {
		require.NoError(t, os.WriteFile(run.ManifestPath(of), []byte(text), 0o600))
		if m, err := run.ReadManifest(of); err == nil {
			assert.True(t, utf8.ValidString(m.RunID+m.URL))
		}
		if found, err := runIn(dir, name); err == nil {
			inside, err := filepath.Rel(dir, found.Dir)
			assert.NoError(t, err)
			assert.Equal(t, filepath.Base(inside), inside, "a name from an address leads to %s", found.Dir)
		}
		if found, err := run.Find(dir, name); err == nil {
			assert.True(t, run.IsRun(found), "%q leads to %q", name, found)
		}
	})
}
