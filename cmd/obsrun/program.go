package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/receiver/otlp"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/supervisor"
)

// programOf finds what would be run, without running it. The error is that of a
// run that could not start; a warning is of one that would end at once.
func programOf(command, env []string) (program report.Program, warning string, err error) {
	program = report.Program{Args: maskSecrets(command)}
	path, err := supervisor.Resolve(command[0], env, "")
	if err != nil {
		return program, "", err
	}
	program.Found, program.Path = true, maskSecrets([]string{path})[0]
	head := headOf(path)
	line, isScript := bytes.CutPrefix(head, []byte("#!"))
	switch {
	case isScript:
		line, _, _ = bytes.Cut(line, []byte("\n"))
		words := strings.Fields(string(line))
		if len(words) == 0 {
			break
		}
		program.Interpreter = strings.Join(words, " ")
		name := words[0]
		if _, err := os.Stat(name); err != nil {
			return program, "", &supervisor.StartError{Status: 126, Err: fmt.Errorf("run %s: bad interpreter %s: no such file", path, name)}
		}
		if filepath.Base(name) == "env" {
			if i := slices.IndexFunc(words[1:], func(w string) bool { return w[0] != '-' && !strings.Contains(w, "=") }); i >= 0 {
				name = words[1+i]
				if _, err := supervisor.Resolve(name, env, ""); err != nil {
					warning = fmt.Sprintf("%s is a script for %s, which is not found in PATH", path, name)
				}
			}
		}
		program.What = languageOf(name, "script")
	case isBinary(head):
		program.What = languageOf(path, "program")
	case len(head) > 0:
		program.What = "file without a #! line, which a shell would run"
	default:
		program.What = "empty file, or one that can not be read"
	}
	return program, warning, nil
}

// headOf is the beginning of a file, as far as the kernel looks at it.
func headOf(path string) []byte {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	head := make([]byte, 256)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return head[:n]
}

// isBinary tells a program of Linux (ELF) or macOS (Mach-O, of one or of several
// architectures) by its first bytes.
func isBinary(head []byte) bool {
	for _, magic := range []string{"\x7fELF", "\xfe\xed\xfa\xce", "\xfe\xed\xfa\xcf", "\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return false
}

// languageOf words what a program is whose interpreter is of this name, or which
// is that itself.
func languageOf(name, what string) string {
	name = filepath.Base(name)
	known := []struct {
		prefix, language string
		whole            bool
	}{
		{"python", "Python", false}, {"pypy", "Python", false}, {"node", "Node.js", true}, {"bun", "Bun", true}, {"deno", "Deno", true},
		{"ruby", "Ruby", false}, {"perl", "Perl", false},
		{"sh", "shell", true}, {"bash", "shell", true}, {"dash", "shell", true}, {"zsh", "shell", true}, {"ksh", "shell", true}, {"fish", "shell", true},
	}
	for _, k := range known {
		switch {
		case name != k.prefix && (k.whole || !strings.HasPrefix(name, k.prefix)):
		case what == "program" && k.language == "shell":
			return "shell"
		case what == "program":
			return k.language + " interpreter"
		default:
			return k.language + " script"
		}
	}
	if what == "script" {
		return "script for " + name
	}
	return what
}

// reporters are programs of which it is known what the switches of otlp.Switches
// make them tell.
var reporters = []struct{ name, variable, tells string }{
	{"claude", "CLAUDE_CODE_ENABLE_TELEMETRY", "Claude Code's agents, LLM calls, tools and tokens by otlp"},
	{"gemini", "GEMINI_TELEMETRY_ENABLED", "Gemini CLI's LLM calls, tools and tokens by otlp"},
}

// captured words what would come of a command: what is known of the program, and
// the ways that are open to any.
func captured(command []string, plan *otlp.Plan, sources []report.Plan) string {
	var parts, ways []string
	for _, r := range reporters {
		given := slices.ContainsFunc(plan.Set, func(v otlp.Variable) bool { return v.Name == r.variable })
		if filepath.Base(command[0]) == r.name && given {
			parts = append(parts, r.tells)
		}
	}
	more := make(map[string]bool)
	for _, s := range sources {
		switch s.Source {
		case telemetry.SourceGateway, telemetry.SourceProcess:
			more[s.Source] = s.On
		case telemetry.SourceOTLP, telemetry.SourceSocket, telemetry.SourceBurr, telemetry.SourceToolCalls:
			if s.On {
				ways = append(ways, s.Source)
			}
		}
	}
	if len(ways) > 0 {
		parts = append(parts, "what it tells by "+strings.Join(ways, ", "))
	}
	if more[telemetry.SourceGateway] {
		parts = append(parts, "its LLM calls through the gateway")
	}
	if more[telemetry.SourceProcess] {
		parts = append(parts, "its processes")
	}
	return strings.Join(parts, "; ")
}
