// Package ui is the dashboard: the page that a browser shows of one run. It
// assembles index.html, style.css, vendor/d3.min.js and src/*.js into one HTML
// document that needs no other request than its event stream, the run before this one
// ("last", a report.Last or null), what was used when ("samples", a run.Samples, for a
// replay and at the run's end) and, for what its user opens, the run's files and the
// terminal emulator (Emulator).
//
// Caveats first. The page does not fold events and knows no schema of them: it
// takes the folded state and its changes as JSON from the relative URL "state"
// (text/event-stream, one run.Delta a message, "event: end" after the last) and
// computes what depends on the clock; in a replay what stood at a moment, from the
// times of the state (past.js); and sums of what an orchestrator's own log has
// beyond the events (toollog.js). The list of many runs is a page of its own (Runs),
// and a run as a file another form of the first (Snapshot). This package serves
// nothing; it gives the bytes and the Content-Security-Policy that they need.
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

//go:embed index.html runs.html style.css runs.css src/*.js vendor/d3.min.js vendor/xterm.min.js
var files embed.FS

// emulator is the terminal emulator, which the page loads when its user opens the
// terminal: half of the page's weight, for what most never look at.
const emulator = "vendor/xterm.min.js"

// modules are the files of src/ in the order in which they stand in the page: a
// module may import from those above it only.
var modules = []string{
	"format.js",
	"clock.js",
	"beat.js",
	"domain.js",
	"view.js",
	"held.js",
	"hues.js",
	"model.js",
	"problems.js",
	"evidence.js",
	"concurrency.js",
	"axis.js",
	"brush.js",
	"past.js",
	"cast.js",
	"filetail.js",
	"answer.js",
	"weight.js",
	"lanes.js",
	"layout.js",
	"calls.js",
	"toollog.js",
	"record.js",
	"touched.js",
	"machine.js",
	"area.js",
	"burn.js",
	"stream.js",
	"dom.js",
	"glyph.js",
	"theme.js",
	"header.js",
	"last.js",
	"summary.js",
	"address.js",
	"lens.js",
	"gestures.js",
	"marking.js",
	"strip.js",
	"tip.js",
	"row.js",
	"timeline.js",
	"cards.js",
	"detail.js",
	"filters.js",
	"tabs.js",
	"transport.js",
	"playback.js",
	"table.js",
	"picker.js",
	"chart.js",
	"agents.js",
	"usage.js",
	"writing.js",
	"network.js",
	"resources.js",
	"listing.js",
	"logfile.js",
	"panels.js",
	"screen.js",
	"terminal.js",
	"keys.js",
	"moves.js",
	"page.js",
	"inlined.js",
	"main.js",
}

// The places in index.html that are filled, each there exactly once.
const (
	styleMark  = "<!-- style -->"
	scriptMark = "<!-- script -->"
)

// document is what one page is made of.
type document struct {
	html    string
	styles  []string
	library string // empty: none
	lazy    string // a script that the page loads later; empty: none
	modules []string
}

// runsModules are those of the page of many runs, as modules are of the dashboard.
var runsModules = []string{
	"format.js",
	"axis.js",
	"weight.js",
	"calls.js",
	"dom.js",
	"glyph.js",
	"theme.js",
	"table.js",
	"trend.js",
	"sides.js",
	"runs.js",
}

type page struct {
	html []byte
	csp  string
}

// once assembles a page when it is first asked for.
func once(d document) func() (page, error) {
	return sync.OnceValues(func() (page, error) {
		p, err := assemble(d)
		if err != nil {
			return page{}, fmt.Errorf("assemble the dashboard: %w", err)
		}
		return p, nil
	})
}

var (
	dashboard = once(document{"index.html", []string{"style.css"}, "vendor/d3.min.js", emulator, modules})
	runs      = once(document{"runs.html", []string{"style.css", "runs.css"}, "", "", runsModules})
)

// Page gives the dashboard as one HTML document, UTF-8, and the value of the
// Content-Security-Policy header that it must be served with: nothing from
// elsewhere, no inline code but by its hash. It is assembled once; the bytes are
// shared and must not be changed. An error means that the files of this package
// do not fit together, which its tests rule out.
func Page() (html []byte, csp string, err error) {
	p, err := dashboard()
	return p.html, p.csp, err
}

// Runs gives the page of many runs, as Page does the dashboard. It takes the list
// of runs as JSON from the relative URL "runs" (an array of report.Row), what
// changed between two from "compare?a=ID&b=ID" (a report.Comparison), and links to
// the dashboard of each run at "runs/ID/".
func Runs() (html []byte, csp string, err error) {
	p, err := runs()
	return p.html, p.csp, err
}

// Emulator gives the script of the terminal emulator, UTF-8. The page asks for it at
// the relative URL "terminal.js" and runs it as an inline script, whose hash the
// policy names: whatever else comes from there is not run.
func Emulator() ([]byte, error) {
	script, err := files.ReadFile(emulator)
	if err != nil {
		return nil, fmt.Errorf("read the terminal emulator: %w", err)
	}
	return script, nil
}

func assemble(d document) (page, error) {
	index, err := files.ReadFile(d.html)
	if err != nil {
		return page{}, err
	}
	var style []byte
	for _, name := range d.styles {
		text, err := files.ReadFile(name)
		if err != nil {
			return page{}, err
		}
		style = append(style, text...)
	}
	sources := make([]module, 0, len(d.modules))
	for _, name := range d.modules {
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
	scriptTexts := []string{own}
	if d.library != "" {
		library, err := files.ReadFile(d.library)
		if err != nil {
			return page{}, err
		}
		scriptTexts = []string{string(library), own}
	}

	// The library is a script of its own: it is not strict, and its place in a
	// stack trace stays that of the published file.
	var scripts strings.Builder
	var hashes []string
	for _, text := range scriptTexts {
		element, hash, err := inline("script", text)
		if err != nil {
			return page{}, err
		}
		scripts.WriteString(element)
		hashes = append(hashes, hash)
	}
	if d.lazy != "" {
		text, err := files.ReadFile(d.lazy)
		if err != nil {
			return page{}, err
		}
		_, hash, err := inline("script", string(text))
		if err != nil {
			return page{}, err
		}
		hashes = append(hashes, hash)
	}
	styleElement, styleHash, err := inline("style", string(style))
	if err != nil {
		return page{}, err
	}
	for mark, element := range map[string]string{styleMark: styleElement, scriptMark: scripts.String()} {
		if bytes.Count(index, []byte(mark)) != 1 {
			return page{}, fmt.Errorf("%s has %q not exactly once", d.html, mark)
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
