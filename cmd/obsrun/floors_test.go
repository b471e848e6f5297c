package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	osexec "os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// floors says who may import whom: each package the ones of this module that it
// may, and the modules of others that have their home in it. What is not named
// here is not allowed. The picture is in README.md.
const floors = `
	instrument/telemetry < 
	ui                   < 
	testdata/eigenda     < 

	instrument           < instrument/telemetry
	instrument/journal   < github.com/fsnotify/fsnotify

	instrument/run       < instrument/telemetry instrument/journal
	instrument/receiver  < instrument/telemetry instrument/journal
	instrument/receiver/otlp    < instrument/telemetry
	instrument/receiver/gateway < instrument/telemetry

	supervisor/monitor   < 
	supervisor           < supervisor/monitor instrument/telemetry instrument/run github.com/creack/pty golang.org/x/term golang.org/x/sys github.com/shirou/gopsutil/v4
	serve                < instrument/journal instrument/run ui github.com/julienschmidt/httprouter
	report               < instrument/telemetry instrument/run github.com/google/renameio/v2 golang.org/x/perf github.com/aclements/go-moremath
	report/export        < instrument/telemetry instrument/run report ui github.com/parquet-go/parquet-go

	cmd/obsrun           < instrument instrument/telemetry instrument/run instrument/receiver instrument/receiver/otlp instrument/receiver/gateway supervisor serve report report/export ui testdata/eigenda github.com/urfave/cli/v2 github.com/pkg/browser golang.org/x/term go.yaml.in/yaml/v3
`

const module = "github.com/obsrun/obsrun/"

// shared are modules that may be at home in two places: x/term tells whether a
// descriptor is a terminal, which two packages must know.
var shared = []string{"golang.org/x/term"}

func policy(t *testing.T) map[string][]string {
	t.Helper()
	allowed := make(map[string][]string)
	lines := bufio.NewScanner(strings.NewReader(floors))
	for lines.Scan() {
		name, imports, ok := strings.Cut(lines.Text(), "<")
		if ok {
			allowed[strings.TrimSpace(name)] = strings.Fields(imports)
		}
	}
	return allowed
}

func TestFloors(t *testing.T) {
	out, err := osexec.Command("go", "list", "-json=ImportPath,Imports", module+"...", module+"testdata/...").Output()
	require.NoError(t, err)
	allowed := policy(t)
	homes := make(map[string][]string)
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		require.NoError(t, dec.Decode(&pkg))
		name := strings.TrimPrefix(pkg.ImportPath, module)
		may, known := allowed[name]
		require.True(t, known, "%s is on no floor", name)
		for _, imported := range pkg.Imports {
			if own, ok := strings.CutPrefix(imported, module); ok {
				assert.Contains(t, may, own, "%s imports %s", name, own)
				continue
			}
			if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			home := slices.IndexFunc(may, func(m string) bool { return imported == m || strings.HasPrefix(imported, m+"/") })
			if assert.GreaterOrEqual(t, home, 0, "%s imports %s", name, imported) && !slices.Contains(homes[may[home]], name) {
				homes[may[home]] = append(homes[may[home]], name)
			}
		}
	}
	for mod, names := range homes {
		if !slices.Contains(shared, mod) {
			assert.Len(t, names, 1, "%s has more than one home", mod)
		}
	}
}

// Only main ends the process, and the entry of the monitor, which comes before it; and
// what works on recorded time reads no clock.
func TestForbiddenCalls(t *testing.T) {
	exits := []string{"cmd/obsrun/main.go", "supervisor/monitor/entry.go"}
	timeless := map[string][]string{ // package: the files that may read the clock
		"instrument/telemetry": {}, "report": {}, "instrument/run": {"recorder.go", "load.go"},
	}
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	checked := 0
	require.NoError(t, filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if _, module := os.Stat(filepath.Join(file, "go.mod")); err == nil && d.IsDir() && module == nil && strings.HasPrefix(file, filepath.Join(root, "testdata")) {
			return filepath.SkipDir // a module of its own
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			return err
		}
		checked++
		ast.Inspect(tree, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			on, _ := call.X.(*ast.Ident)
			if on == nil {
				return true
			}
			switch name := on.Name + "." + call.Sel.Name; name {
			case "os.Exit", "log.Fatal", "log.Fatalf":
				assert.Contains(t, exits, filepath.ToSlash(rel), "%s calls %s", rel, name)
			case "time.Now", "time.Since", "time.Until":
				if may, ok := timeless[path.Dir(filepath.ToSlash(rel))]; ok {
					assert.Contains(t, may, filepath.Base(rel), "%s calls %s", rel, name)
				}
			}
			return true
		})
		return nil
	}))
	assert.Greater(t, checked, 50)
}

// Top-level folders are these and no others.
func TestFolders(t *testing.T) {
	entries, err := os.ReadDir("../..")
	require.NoError(t, err)
	for _, entry := range entries {
		if entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") && entry.Name() != "logs" {
			assert.Contains(t, []string{"cmd", "supervisor", "instrument", "serve", "report", "ui", "testdata"}, entry.Name())
		}
	}
}
