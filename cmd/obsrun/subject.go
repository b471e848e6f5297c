package main

import (
	"path/filepath"
	"strings"
)

// namePattern is what a run's name may look like.
var namePattern = newPattern(`^[A-Za-z][A-Za-z0-9._-]{0,47}$`)

// noName is what a name cannot have in it.
var noName = newPattern(`[^A-Za-z0-9._-]+`)

// nameOf makes the first part of the run id of what is run: the first operand
// that can be one, else the program's name.
func nameOf(command []string) string {
	command = maskSecrets(command) // "***" is no name
	for _, arg := range command[1:] {
		if namePattern.MatchString(arg) {
			return arg
		}
	}
	base := noName.ReplaceAllString(filepath.Base(command[0]), "-")
	base = strings.TrimRight(strings.TrimLeft(base, "0123456789._-"), "-")
	if base = base[:min(len(base), 48)]; !namePattern.MatchString(base) {
		return "run"
	}
	return base
}
