package main

import (
	"path/filepath"
	"regexp"
	"strings"
)

// namePattern is what a run's name may look like.
var namePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,47}$`)

// nameOf makes the first part of the run id of what is run: the first operand
// that can be one, else the program's name.
func nameOf(command []string) string {
	command = maskSecrets(command) // "***" is no name
	for _, arg := range command[1:] {
		if namePattern.MatchString(arg) {
			return arg
		}
	}
	base := regexp.MustCompile(`[^A-Za-z0-9._-]+`).ReplaceAllString(filepath.Base(command[0]), "-")
	base = strings.TrimRight(strings.TrimLeft(base, "0123456789._-"), "-")
	if base = base[:min(len(base), 48)]; !namePattern.MatchString(base) {
		return "run"
	}
	return base
}
