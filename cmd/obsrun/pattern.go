package main

import (
	"regexp"
	"strings"
	"sync"
)

// pattern is a regular expression that is compiled when a text is first looked at that
// it could match. Most runs need few of them, and compiling all would take longer than
// all else that a short run needs before it starts.
type pattern struct {
	anyOf   string // a text without any of these bytes does not match; empty: it could
	least   int    // nor does one of fewer bytes
	compile func() *regexp.Regexp
}

// newPattern makes one that may match whatever there is.
func newPattern(expression string) *pattern { return patternWith("", 0, expression) }

// patternWith makes one that matches only texts of least bytes with one of anyOf.
func patternWith(anyOf string, least int, expression string) *pattern {
	return &pattern{anyOf, least, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })}
}

// could tells whether the text is worth a closer look.
func (p *pattern) could(text string) bool {
	return len(text) >= p.least && (p.anyOf == "" || strings.ContainsAny(text, p.anyOf))
}

// The methods are those of [regexp.Regexp].

func (p *pattern) MatchString(text string) bool {
	return p.could(text) && p.compile().MatchString(text)
}

func (p *pattern) FindString(text string) string {
	if !p.could(text) {
		return ""
	}
	return p.compile().FindString(text)
}

func (p *pattern) FindStringSubmatch(text string) []string {
	if !p.could(text) {
		return nil
	}
	return p.compile().FindStringSubmatch(text)
}

func (p *pattern) ReplaceAllString(text, by string) string {
	if !p.could(text) {
		return text
	}
	return p.compile().ReplaceAllString(text, by)
}

func (p *pattern) ReplaceAllStringFunc(text string, by func(string) string) string {
	if !p.could(text) {
		return text
	}
	return p.compile().ReplaceAllStringFunc(text, by)
}
