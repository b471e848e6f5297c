package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"strings"
)

// inlinedID is the element in which a page finds its state where it has no server.
const inlinedID = "inlined"

// recording is the file that needs the emulator to be shown.
const recording = "terminal.cast"

// File is what goes into a snapshot by the name that the page asks for: a file of the
// run's directory, "terminal.cast" or "tool_calls.jsonl", or an answer of its server,
// "last" or "samples". What is no UTF-8 in it is replaced.
type File struct {
	Name string
	Text []byte
}

// Snapshot gives the dashboard of a run as one HTML document that works from
// disk: the page with the state, a run.Delta from line 0 as JSON, and files inlined.
// With a recording of the terminal comes the emulator that shows it. The document
// asks for nothing, and its Content-Security-Policy, which stands in it, allows
// nothing else. An error means that state is no JSON.
func Snapshot(state []byte, files ...File) ([]byte, error) {
	document, csp, err := Page()
	if err != nil {
		return nil, err
	}
	var inlined bytes.Buffer
	if err := json.Compact(&inlined, state); err != nil {
		return nil, fmt.Errorf("put the state into the dashboard: %w", err)
	}
	var safe bytes.Buffer
	json.HTMLEscape(&safe, inlined.Bytes()) // no name in it ends the element early
	elements := []byte("<script type=\"application/json\" id=\"" + inlinedID + "\">" + safe.String() + "</script>\n")
	for _, file := range files {
		if file.Name == recording {
			script, err := Emulator()
			if err != nil {
				return nil, err
			}
			files = append(files, File{"terminal.js", script})
		}
	}
	for _, file := range files {
		text, err := json.Marshal(string(file.Text)) // escapes what HTML would read as markup
		if err != nil {
			return nil, fmt.Errorf("put %s into the dashboard: %w", file.Name, err)
		}
		elements = fmt.Appendf(elements, "<script type=\"application/json\" data-file=\"%s\">%s</script>\n", html.EscapeString(file.Name), text)
	}

	// frame-ancestors has no meaning in a document's own policy.
	csp = strings.Replace(csp, "; frame-ancestors 'none'", "", 1)
	csp = strings.Replace(csp, "connect-src 'self'", "connect-src 'none'", 1)
	const head, body = "<meta charset=\"utf-8\">\n", "</body>"
	if bytes.Count(document, []byte(head)) != 1 || bytes.Count(document, []byte(body)) != 1 {
		return nil, errors.New("put the state into the dashboard: the page has no place for it")
	}
	document = bytes.Replace(document, []byte(head), []byte(head+"<meta http-equiv=\"Content-Security-Policy\" content=\""+csp+"\">\n"), 1)
	before, after, _ := bytes.Cut(document, []byte("<script>"))
	return bytes.Join([][]byte{before, elements, []byte("<script>"), after}, nil), nil
}
