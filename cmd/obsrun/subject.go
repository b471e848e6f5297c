package main

import (
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxName is how many bytes a run's name can have.
const maxName = 48

// isName tells whether a run can have this name: a letter, then letters, digits, dots,
// dashes and underscores. It is asked before every run, and so without a pattern.
func isName(text string) bool {
	return text != "" && len(text) <= maxName && isLetter(text[0]) && strings.IndexFunc(text, notInName) < 0
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func notInName(r rune) bool {
	return r >= utf8.RuneSelf || !isLetter(byte(r)) && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
}

// asName puts a dash in the place of what a name cannot have in it.
func asName(text string) string {
	var b strings.Builder
	gap := false
	for _, r := range text {
		if bad := notInName(r); bad && gap {
			continue
		} else if gap = bad; bad {
			r = '-'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// nameOf makes the first part of the run id of what is run: the first operand
// that can be one, else the program's name.
func nameOf(command []string) string {
	command = maskSecrets(command) // "***" is no name
	for _, arg := range command[1:] {
		if isName(arg) {
			return arg
		}
	}
	base := asName(filepath.Base(command[0]))
	base = strings.TrimRight(strings.TrimLeft(base, "0123456789._-"), "-")
	if base = base[:min(len(base), maxName)]; !isName(base) {
		return "run"
	}
	return base
}
