// Package ui is the dashboard: the page that a browser shows of one run. It
// assembles index.html, style.css, vendor/d3.min.js and src/*.js into one HTML
// document that needs no other request than its event stream.
//
// Caveats first. The page does not fold events and knows no schema of them: it
// takes the folded state and its changes as JSON from the relative URL "state"
// (text/event-stream, one run.Delta a message, "event: end" after the last) and
// computes only what depends on the clock. This package serves nothing; it gives
// the bytes and the Content-Security-Policy that they need.
package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
)

//go:embed index.html style.css src/*.js vendor/d3.min.js
var files embed.FS

// modules are the files of src/ in the order in which they stand in the page: a
// module may import from those above it only.
var modules = []string{
	"format.js",
	"clock.js",
	"domain.js",
	"view.js",
	"held.js",
	"hues.js",
	"model.js",
	"layout.js",
	"problems.js",
	"concurrency.js",
	"axis.js",
	"brush.js",
	"past.js",
	"calls.js",
	"burn.js",
	"stream.js",
	"dom.js",
	"glyph.js",
	"theme.js",
	"header.js",
	"summary.js",
	"address.js",
	"lens.js",
	"gestures.js",
	"strip.js",
	"row.js",
	"timeline.js",
	"cards.js",
	"detail.js",
	"filters.js",
	"tabs.js",
	"transport.js",
	"playback.js",
	"table.js",
	"agents.js",
	"usage.js",
	"keys.js",
	"moves.js",
	"page.js",
	"main.js",
}

// The places in index.html that are filled, each there exactly once.
const (
	styleMark  = "<!-- style -->"
	scriptMark = "<!-- script -->"
)

type page struct {
	html []byte
	csp  string
}

var assembled = sync.OnceValues(func() (page, error) {
	p, err := assemble()
	if err != nil {
		return page{}, fmt.Errorf("assemble the dashboard: %w", err)
	}
	return p, nil
})

// Page gives the dashboard as one HTML document, UTF-8, and the value of the
// Content-Security-Policy header that it must be served with: nothing from
// elsewhere, no inline code but by its hash. It is assembled once; the bytes are
// shared and must not be changed. An error means that the files of this package
// do not fit together, which its tests rule out.
func Page() (html []byte, csp string, err error) {
	p, err := assembled()
	return p.html, p.csp, err
}

func assemble() (page, error) {
	index, err := files.ReadFile("index.html")
	if err != nil {
		return page{}, err
	}
	style, err := files.ReadFile("style.css")
	if err != nil {
		return page{}, err
	}
	library, err := files.ReadFile("vendor/d3.min.js")
	if err != nil {
		return page{}, err
	}
	sources := make([]module, 0, len(modules))
	for _, name := range modules {
		text, err := files.ReadFile("src/" + name)
		if err != nil {
			return page{}, err
		}
		sources = append(sources, module{name, string(text)})
	}
	own, err := join(sources)
	if err != nil {
		return page{}, err
	}

	// The library is a script of its own: it is not strict, and its place in a
	// stack trace stays that of the published file.
	var scripts strings.Builder
	var hashes []string
	for _, text := range []string{string(library), own} {
		element, hash, err := inline("script", text)
		if err != nil {
			return page{}, err
		}
		scripts.WriteString(element)
		hashes = append(hashes, hash)
	}
	styleElement, styleHash, err := inline("style", string(style))
	if err != nil {
		return page{}, err
	}
	for mark, element := range map[string]string{styleMark: styleElement, scriptMark: scripts.String()} {
		if bytes.Count(index, []byte(mark)) != 1 {
			return page{}, fmt.Errorf("index.html has %q not exactly once", mark)
		}
		index = bytes.Replace(index, []byte(mark), []byte(element), 1)
	}
	csp := "default-src 'none'; script-src " + strings.Join(hashes, " ") + "; style-src " + styleHash +
		"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return page{index, csp}, nil
}

// inline gives an element with the text in it, and the source expression that
// allows exactly this text. The parser would end the element early, or change the
// text and with it the hash, at what is refused here.
func inline(element, text string) (html, hash string, err error) {
	lower := strings.ToLower(text)
	switch {
	case strings.Contains(lower, "</"+element), strings.Contains(lower, "<!--"):
		return "", "", errors.New("a " + element + " has text that would end it")
	case strings.ContainsAny(text, "\r\x00"):
		return "", "", errors.New("a " + element + " has a CR or NUL, which the HTML parser changes")
	}
	sum := sha256.Sum256([]byte(text))
	return "<" + element + ">" + text + "</" + element + ">",
		"'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'", nil
}
