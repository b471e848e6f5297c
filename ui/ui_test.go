package ui

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inlined finds the inline elements of a name and gives their text.
func inlined(html []byte, element string) []string {
	var out []string
	for _, found := range regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllSubmatch(html, -1) {
		out = append(out, string(found[1]))
	}
	return out
}

func TestPageIsOneDocumentUnderItsPolicy(t *testing.T) {
	html, csp, err := Page()
	require.NoError(t, err)

	emulator, err := Emulator()
	require.NoError(t, err)
	scripts, styles := inlined(html, "script"), inlined(html, "style")
	require.Len(t, scripts, 2)
	require.Len(t, styles, 1)
	assert.Equal(t, 2, bytes.Count(html, []byte("<script")))
	assert.Equal(t, 1, bytes.Count(html, []byte("<style")))
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	assert.Equal(t, "default-src 'none'; script-src "+hash(scripts[0])+" "+hash(scripts[1])+" "+hash(string(emulator))+"; style-src "+hash(styles[0])+
		"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", csp)
	assert.NotContains(t, csp, "unsafe")

	again, sameCSP, err := Page()
	require.NoError(t, err)
	assert.Equal(t, &html[0], &again[0], "it is assembled once")
	assert.Equal(t, csp, sameCSP)
	assert.Less(t, len(html), 400_000, "the page's weight in bytes")
}

// What the policy would refuse, or what would let text become markup, is in none
// of the sources.
func TestSourcesHoldNothingThatThePolicyForbids(t *testing.T) {
	forbidden := map[string]*regexp.Regexp{
		"markup from strings": regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|\.html\(|setHTML`),
		"code from strings":   regexp.MustCompile(`\beval\(|new Function|javascript:|setTimeout\(["']`),
		"inline style":        regexp.MustCompile(`\sstyle=|setAttribute\("style|"style"`),
		"inline handlers":     regexp.MustCompile(`<[^>]*\son\w+=`),
		"another address":     regexp.MustCompile(`(?:src|href|url|fetch|import)\s*[=(]\s*["']?(?:https?:)?//`),
	}
	for _, path := range sourceFiles(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for what, pattern := range forbidden {
			assert.Empty(t, pattern.FindString(string(text)), "%s has %s", path, what)
		}
	}
}

func sourceFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("src/*.js")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	return append(paths, "index.html", "style.css")
}

func TestEveryModuleIsInThePage(t *testing.T) {
	found, err := fs.Glob(files, "src/*.js")
	require.NoError(t, err)
	var names []string
	for _, path := range found {
		names = append(names, filepath.Base(path))
	}
	all := slices.Concat(modules, runsModules)
	slices.Sort(all)
	assert.ElementsMatch(t, names, slices.Compact(all))
	assert.Equal(t, "main.js", modules[len(modules)-1])
	assert.Equal(t, "runs.js", runsModules[len(runsModules)-1])
}

func TestEveryElementThatIsLookedForExists(t *testing.T) {
	index, err := os.ReadFile("index.html")
	require.NoError(t, err)
	var ids []string
	for _, found := range regexp.MustCompile(`\sid="([^"]+)"`).FindAllSubmatch(index, -1) {
		assert.NotContains(t, ids, string(found[1]), "an id is there twice")
		ids = append(ids, string(found[1]))
	}
	for _, path := range sourceFiles(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, found := range regexp.MustCompile(`\bfind\("([^"]+)"\)`).FindAllSubmatch(text, -1) {
			assert.Contains(t, ids, string(found[1]), path)
		}
		for _, found := range regexp.MustCompile(`aria-labelledby="([^"]+)"`).FindAllSubmatch(text, -1) {
			assert.Contains(t, ids, string(found[1]), path)
		}
	}
}

// node checks the syntax of what was assembled: joining is done on text.
func TestAssembledScriptsParse(t *testing.T) {
	node, err := exec.LookPath("node")
	require.NoError(t, err, "the page's tests need node; install it (make test does)")
	html, _, err := Page()
	require.NoError(t, err)
	for _, script := range inlined(html, "script") {
		path := filepath.Join(t.TempDir(), "assembled.cjs")
		require.NoError(t, os.WriteFile(path, []byte(script), 0o600))
		out, err := exec.Command(node, "--check", path).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
}

func TestVendoredLibrariesAreTheRecordedOnes(t *testing.T) {
	versions, err := os.ReadFile("vendor/VERSIONS")
	require.NoError(t, err)
	for name, file := range map[string]string{"d3": "vendor/d3.min.js", "@xterm/headless": "vendor/xterm.min.js"} {
		library, err := os.ReadFile(file)
		require.NoError(t, err)
		sum := sha256.Sum256(library)
		assert.Contains(t, string(versions), "sha256     "+hex.EncodeToString(sum[:]), name)
		version := regexp.MustCompile(`(?m)^` + name + ` (\d+\.\d+\.\d+)$`).FindSubmatch(versions)
		require.NotNil(t, version, name)
		assert.Contains(t, string(library[:200]), name+" v"+string(version[1])+" ")
	}
	assert.FileExists(t, "vendor/d3.LICENSE")
	assert.FileExists(t, "vendor/xterm.LICENSE")
}

// The bundle of D3 has what src/ uses.
func TestBundleHasWhatIsUsed(t *testing.T) {
	library, err := os.ReadFile("vendor/d3.min.js")
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(library), "\n")
	_, names, _ := strings.Cut(first, ", of it ")
	for _, path := range sourceFiles(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, found := range regexp.MustCompile(`\bd3\.([a-zA-Z]+)`).FindAllSubmatch(text, -1) {
			assert.Contains(t, strings.Split(names, ","), string(found[1]), "%s; run ui/vendor/refresh", path)
		}
	}
}

func TestJoin(t *testing.T) {
	a := module{"a.js", "// One.\nexport const ONE = 1;\nexport function two() {\n  // Two.\n  return 2; // 2\n}\nconst own = 3;\n"}
	got, err := join([]module{a, {"b.js", "import { ONE, two } from \"./a.js\";\n\nexport class B {}\nexport async function c() {}\nnew B(ONE, two());\n"}})
	require.NoError(t, err)
	assert.Equal(t, `(() => {
"use strict";
// a.js
const ONE = 1;
function two() {
  return 2; // 2
}
const own = 3;
// b.js

class B {}
async function c() {}
new B(ONE, two());
})();
`, got)

	for name, text := range map[string]string{
		"a module that is not there":        `import { x } from "./z.js";`,
		"a name that is not exported":       `import { own } from "./a.js";`,
		"another name":                      `import { ONE as one } from "./a.js";`,
		"a default import":                  `import one from "./a.js";`,
		"an import of many lines":           "import {\n  ONE,\n} from \"./a.js\";",
		"a dynamic import at the top":       `import("./a.js");`,
		"a default export":                  `export default 1;`,
		"an export list":                    `export { a };`,
		"an export from elsewhere":          `export * from "./a.js";`,
		"a name of another module":          `const own = 1;`,
		"a function of another module":      `function two() {}`,
		"a name of its own, twice":          "const x = 1;\nfunction x() {}",
		"names by a pattern":                `const { x } = globalThis;`,
		"exported names by a pattern":       `export const [x] = [1];`,
		"an import from a module below":     `import { y } from "./c.js";`,
		"an import from elsewhere":          `import { y } from "https://example.org/a.js";`,
		"an import without its semicolon":   `import { ONE } from "./a.js"`,
		"a generator that is exported as *": `export function* g() {}`,
	} {
		_, err := join([]module{a, {"b.js", text}, {"c.js", "export const y = 1;"}})
		assert.ErrorContains(t, err, "src/b.js:", name)
	}
}

func TestInlineRefusesWhatTheParserWouldChange(t *testing.T) {
	for _, text := range []string{"a</script>", "a</SCRIPT >", "<!-- a", "a\r\nb", "a\x00"} {
		_, _, err := inline("script", text)
		assert.Error(t, err, "%q", text)
	}
	html, _, err := inline("style", "a > b{}")
	require.NoError(t, err)
	assert.Equal(t, "<style>a > b{}</style>", html)
}

// A class that the code sets and no rule knows is a slip in one of the two.
func TestStatesHaveTheirLook(t *testing.T) {
	style, err := os.ReadFile("style.css")
	require.NoError(t, err)
	for _, state := range []string{"running", "stalled", "error", "cancelled", "lost", "earlier", "wait"} {
		assert.Contains(t, string(style), ".bx."+state, state)
	}
	rules := strings.Split(string(style), "@media")
	assert.True(t, slices.ContainsFunc(rules, func(r string) bool {
		return strings.Contains(r, "prefers-reduced-motion") && strings.Contains(r, "transform:none")
	}))
	assert.True(t, slices.ContainsFunc(rules, func(r string) bool {
		return strings.Contains(r, "forced-colors") && strings.Contains(r, "forced-color-adjust:none")
	}))
}

func TestRunsIsOneDocumentUnderItsPolicy(t *testing.T) {
	html, csp, err := Runs()
	require.NoError(t, err)
	require.Len(t, inlined(html, "script"), 1)
	require.Len(t, inlined(html, "style"), 1)
	assert.NotContains(t, csp, "unsafe")
	assert.Less(t, len(html), 100_000)
}
