package gateway

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// builtInPatterns find what an agent works on in the words it is asked with:
// "Analyze the node component.", "Analyze node".
var builtInPatterns = sync.OnceValue(func() []*regexp.Regexp {
	return []*regexp.Regexp{
		regexp.MustCompile(`(?i)\banaly[sz]e\s+(?:the\s+)?["'\x60*]*([\w][\w./@:+-]*)["'\x60*]*\s+(?:component|library|application|package|module|service|crate|contract)\b`),
		regexp.MustCompile(`(?i)^\s*analy[sz]e\s+(?:the\s+)?["'\x60*]*([\w][\w./@:+-]*)["'\x60*]*[.]?\s*(?:\n|$)`),
	}
})

const maxName = 64

// CompileNamePattern reads a regular expression (RE2) with a group that is the
// name: the one called "name", else the first.
func CompileNamePattern(expression string) (*regexp.Regexp, error) {
	pattern, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("read the agent name pattern: %w", err)
	}
	if pattern.NumSubexp() == 0 {
		return nil, errors.New("read the agent name pattern: it has no group that would be the name, as in \"Analyze (\\S+)\"")
	}
	return pattern, nil
}

// nameIn finds a name in a message.
func nameIn(message string, patterns []*regexp.Regexp) string {
	for _, list := range [][]*regexp.Regexp{patterns, builtInPatterns()} {
		for _, pattern := range list {
			groups := pattern.FindStringSubmatch(message)
			if groups == nil {
				continue
			}
			group := max(1, pattern.SubexpIndex("name"))
			if group < len(groups) {
				if name := shortName(groups[group]); name != "" {
					return name
				}
			}
		}
	}
	return ""
}

// shortName makes a name of what a pattern found. What is longer than a name, or
// looks like a key, is none.
func shortName(found string) string {
	found = strings.Join(strings.Fields(found), " ")
	found = strings.TrimRight(found, ".,:;")
	if len(found) > maxName || isSecret(found) {
		return ""
	}
	for _, r := range found {
		if !unicode.IsPrint(r) {
			return ""
		}
	}
	return found
}
