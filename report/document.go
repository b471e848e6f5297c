package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/google/renameio/v2"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// maxSummary is the largest summary that is read, in bytes.
const maxSummary = 256 << 20

// maxNesting is how deep a summary nests at most; ours stay below ten, and below
// what the watchdog's evidence adds.
const maxNesting = 100

// maxCount bounds the numbers that are believed in a summary: what the fold can
// come to at most, and far from overflow.
const maxCount = 1 << 61

// WriteJSON writes one of this package's documents: two spaces of indentation, a
// newline at the end, no HTML escapes. Characters that a terminal could act on
// are written as \u escapes, which mean the same to any reader.
func WriteJSON(w io.Writer, document any) error {
	b, err := documentJSON(document)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

func documentJSON(document any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(document); err != nil {
		return nil, err
	}
	plain := b.Bytes()
	if bytes.IndexFunc(plain, acts) < 0 {
		return plain, nil
	}
	// Outside of strings a document is ASCII, so these stand in strings.
	out := make([]byte, 0, len(plain)+64)
	for len(plain) > 0 {
		r, size := utf8.DecodeRune(plain)
		switch {
		case acts(r) && r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		case acts(r):
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = append(out, plain[:size]...)
		}
		plain = plain[size:]
	}
	return out, nil
}

// acts tells whether a terminal does something else with the character than
// showing it. Newlines are the document's own.
func acts(r rune) bool { return r != '\n' && hidden(r) }

// WriteFile replaces the file at path by the document as WriteJSON writes it,
// atomically: a reader sees the old file or the new one, whole. The file has mode
// 0600. A symbolic link at path is replaced, not followed. What was written survives
// the death of any process; nothing is promised for a power loss, so nobody waits for
// the device.
func WriteFile(path string, document any) error {
	b, err := documentJSON(document)
	if err == nil {
		err = writePrivate(path, b)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// writePrivate puts a new file of mode 0600 in the place of what is at path.
func writePrivate(path string, content []byte) error {
	// It is made with that mode, beside path: a rename crosses no file system.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path))
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o600) // a umask can take bits away that a later reader needs
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Replace writes the file at path as a whole: what was there stays if write fails,
// whose error is given as it is. It has the permissions of the file that it replaces.
func Replace(path string, write func(io.Writer) error) error {
	// The temporary file stands beside path: a rename crosses no file system.
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o666), renameio.WithExistingPermissions(), renameio.WithTempDir(filepath.Dir(path)))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer f.Cleanup()
	if err := write(f); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Write writes the summary to path, as WriteFile does.
func (s Summary) Write(path string) error { return WriteFile(path, s) }

// ReadSummary reads a run_summary.json. It takes what Write writes and the shape
// that was published first, with whatever further fields, and refuses everything
// else: the error names the file, what is wrong with it, and what to do.
func ReadSummary(path string) (Summary, error) {
	f, err := run.Open(path)
	if err != nil {
		return Summary{}, fmt.Errorf("read summary: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSummary+1))
	if err != nil {
		return Summary{}, fmt.Errorf("read summary: %w", err)
	}
	s, err := ParseSummary(b)
	if errors.Is(err, ErrNewer) {
		return Summary{}, fmt.Errorf("read summary %s: %w", path, err)
	}
	if err != nil {
		return Summary{}, fmt.Errorf("read summary %s: %w; make it again from the run's journal: obsrun report %s",
			path, err, filepath.Dir(path))
	}
	return s, nil
}

// ErrNewer is the error of a summary that a newer obsrun wrote.
var ErrNewer = errors.New("written by a newer obsrun: upgrade this one")

// ParseSummary reads the bytes of a run_summary.json, as ReadSummary does.
func ParseSummary(b []byte) (Summary, error) {
	body := bytes.TrimSpace(b)
	switch {
	case len(b) > maxSummary:
		return Summary{}, fmt.Errorf("larger than %d MiB, so no run summary", maxSummary>>20)
	case len(body) == 0:
		return Summary{}, errors.New("empty, so no run summary")
	case !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0:
		return Summary{}, errors.New("binary, so no run summary")
	case body[0] != '{':
		return Summary{}, errors.New("no JSON object, so no run summary")
	case deeper(body, maxNesting):
		return Summary{}, fmt.Errorf("nested deeper than %d, so no run summary", maxNesting)
	}
	members := make(map[string]json.RawMessage)
	if err := json.Unmarshal(body, &members); err != nil {
		return Summary{}, syntaxFault(err)
	}
	var schema int
	if raw, ok := members["schema"]; ok {
		if err := json.Unmarshal(raw, &schema); err != nil || schema < 0 {
			return Summary{}, fmt.Errorf("schema is %.20s, so no run summary", raw)
		}
	}
	if schema > telemetry.SchemaVersion {
		return Summary{}, fmt.Errorf("schema %d, and %d is known: %w", schema, telemetry.SchemaVersion, ErrNewer)
	}
	for _, key := range []string{"run_id", "total_wall_ms", "phases", "totals"} {
		if raw := members[key]; raw == nil || string(raw) == "null" {
			return Summary{}, fmt.Errorf("no %q, so no run summary", key)
		}
	}
	var s Summary
	if err := json.Unmarshal(body, &s); err != nil {
		return Summary{}, syntaxFault(err)
	}
	s.Schema = max(1, schema)
	s.fill()
	if err := s.check(); err != nil {
		return Summary{}, err
	}
	return s, nil
}

// deeper tells whether the brackets of a JSON text nest deeper than limit: reading
// phases within phases takes time for each level.
func deeper(b []byte, limit int) bool {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// syntaxFault says in short what the JSON package found.
func syntaxFault(err error) error {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax) && syntax.Error() == "unexpected end of JSON input":
		return fmt.Errorf("cut off after %d bytes", syntax.Offset)
	case errors.As(err, &syntax):
		return fmt.Errorf("not valid JSON at byte %d", syntax.Offset)
	case errors.As(err, &mismatch) && mismatch.Field != "":
		return fmt.Errorf("%q can not be a JSON %.40s", mismatch.Field, mismatch.Value)
	case errors.As(err, &mismatch):
		return fmt.Errorf("a JSON %.40s where an object belongs", mismatch.Value)
	}
	return fmt.Errorf("no run summary: %w", err)
}

// fill makes empty lists of those that are null or not there.
func (s *Summary) fill() {
	s.Command = append([]string{}, s.Command...)
	s.Survivors = append([]string{}, s.Survivors...)
	s.Agents = append([]Agent{}, s.Agents...)
	s.CriticalPath = append([]Step{}, s.CriticalPath...)
	s.Stalls = append([]Stall{}, s.Stalls...)
	for i := range s.Stalls {
		var one bytes.Buffer // without the document's indentation, as the journal has it
		if json.Compact(&one, s.Stalls[i].Evidence) == nil {
			s.Stalls[i].Evidence = one.Bytes()
		}
	}
	s.Errors = append([]Failure{}, s.Errors...)
	s.Warnings = append([]Warning{}, s.Warnings...)
	s.Sources = append([]run.Capture{}, s.Sources...)
	s.Models = append([]Model{}, s.Models...)
	if s.Phases == nil {
		s.Phases = Phases{}
	}
	if s.Totals.TokenSources == nil {
		s.Totals.TokenSources = map[string]int64{}
	}
}

// check refuses numbers that no run has.
func (s *Summary) check() error {
	for _, m := range totalMeasures {
		if v, known := m.of(s); known && !believable(v) {
			return fmt.Errorf("%s is %v, which no run has", m.name, v)
		}
	}
	if err := s.Phases.check(); err != nil {
		return err
	}
	for _, c := range s.Sources {
		for _, n := range []int64{c.Events, c.Spans, c.LLMCalls, c.LLMCallsWithUsage, c.Tokens} {
			if !believable(float64(n)) {
				return fmt.Errorf("%d of source %q is what no run has", n, c.Source)
			}
		}
	}
	if w := s.Work; w != nil {
		for _, n := range []int64{w.AgentMS, w.LLMMS, w.LLMTimed, w.Retries, w.RetryMS, w.WaitMS, w.RateLimited, w.RateLimitWaitMS} {
			if !believable(float64(n)) {
				return fmt.Errorf("%d in \"work\" is what no run has", n)
			}
		}
	}
	for _, m := range s.Models {
		for _, n := range []int64{m.Calls, m.InputTokens, m.OutputTokens, m.CachedTokens} {
			if !believable(float64(n)) {
				return fmt.Errorf("%d of model %q is what no run has", n, m.Name)
			}
		}
	}
	for i := range s.Agents {
		for _, m := range agentMeasures {
			if v, known := m.of(&s.Agents[i]); known && !believable(v) {
				return fmt.Errorf("%s of agent %q is %v, which no run has", m.name, s.Agents[i].ID, v)
			}
		}
	}
	return nil
}

func (p Phases) check() error {
	for i := range p {
		for _, m := range phaseMeasures {
			if v, known := m.of(&p[i]); known && !believable(v) {
				return fmt.Errorf("%s of phase %q is %v, which no run has", m.name, p[i].Name, v)
			}
		}
		if err := p[i].Depths.check(); err != nil {
			return err
		}
	}
	return nil
}

func believable(v float64) bool { return v >= 0 && v <= maxCount }
