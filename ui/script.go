package ui

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// module is a file of src/: a plain ES module, which node imports as it is.
type module struct{ name, text string }

// The forms that a module may use at the start of a line. Whatever else begins
// with import or export is refused, so joining is no more than dropping words.
var (
	importLine = form(`^import \{ ([\w$]+(?:, [\w$]+)*) \} from "\./([\w-]+\.js)";$`)
	exportLine = form(`^export (?:async )?(?:function|const|class) ([\w$]+)`)
	topName    = form(`^(?:async )?(?:function\*?|const|let|var|class) ([\w$]+)`)
	topPattern = form(`^(?:const|let|var) [\[{]`)
)

// form is compiled when a page is first assembled, which many runs do not do.
func form(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// join makes one classic script of the modules: import lines go, "export " goes,
// lines of comment go, and the whole stands in one strict function. That is right as long as a module
// imports from earlier ones only, what it imports is exported there, and no name
// is declared twice at the top level; anything else is an error.
func join(modules []module) (string, error) {
	var out strings.Builder
	out.WriteString("(() => {\n\"use strict\";\n")
	exported := make(map[string][]string) // by module
	declared := make(map[string]string)   // name to module
	for _, m := range modules {
		var names []string
		fmt.Fprintf(&out, "// %s\n", m.name)
		for i, line := range strings.Split(strings.TrimRight(m.text, "\n"), "\n") {
			fail := func(format string, args ...any) error {
				return fmt.Errorf("src/%s:%d: %s", m.name, i+1, fmt.Sprintf(format, args...))
			}
			if strings.HasPrefix(strings.TrimSpace(line), "//") {
				continue
			}
			if strings.HasPrefix(line, "import") {
				found := importLine().FindStringSubmatch(line)
				if found == nil {
					return "", fail("an import must be one line: import { a, b } from \"./module.js\";")
				}
				from, known := exported[found[2]]
				if !known {
					return "", fail("imports from %s, which does not stand above it", found[2])
				}
				for name := range strings.SplitSeq(found[1], ", ") {
					if !slices.Contains(from, name) {
						return "", fail("imports %s, which %s does not export", name, found[2])
					}
				}
				continue
			}
			if strings.HasPrefix(line, "export") {
				found := exportLine().FindStringSubmatch(line)
				if found == nil {
					return "", fail("an export must be: export [async] function, const or class NAME")
				}
				names = append(names, found[1])
				line = strings.TrimPrefix(line, "export ")
			}
			if topPattern().MatchString(line) {
				return "", fail("a declaration at the top level must be of one name")
			}
			if found := topName().FindStringSubmatch(line); found != nil {
				if other, twice := declared[found[1]]; twice {
					return "", fail("declares %s, as %s does", found[1], other)
				}
				declared[found[1]] = m.name
			}
			out.WriteString(line)
			out.WriteByte('\n')
		}
		exported[m.name] = names
	}
	out.WriteString("})();\n")
	return out.String(), nil
}
