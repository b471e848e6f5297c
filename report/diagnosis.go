package report

import "github.com/obsrun/obsrun/instrument/telemetry"

// Diagnosis is what obsrun doctor finds: what would be captured from a command and
// how, and what stands in the way. It has names of environment variables, and of
// their values only those that obsrun would set, without what is secret in them.
// Lists are never null.
type Diagnosis struct {
	Schema  int    `json:"schema"`
	Version string `json:"obsrun_version"`
	// Exit is the exit status that the run would end with before it began: 125, 126
	// or 127. It is 0 where COMMAND would start.
	Exit int `json:"exit"`
	// Command is null where none was named.
	Command *Program `json:"command"`
	// Findings are what stands in the way, the worst first.
	Findings []Finding `json:"findings"`
	Sources  []Plan    `json:"sources"`
	// Environment has the variables that COMMAND would be given, LeftAlone those of
	// the user's that obsrun would set otherwise or that keep telemetry from it, and
	// Removed those that COMMAND would not see.
	Environment []Variable `json:"environment"`
	LeftAlone   []Variable `json:"left_alone"`
	Removed     []string   `json:"removed"`
	// Settings are the flags that are set, from wherever.
	Settings []Setting `json:"settings"`
	LogDir   Place     `json:"log_dir"`
	// Dashboard, Browser, PTY and Recording are things that a run has or has not.
	Dashboard Plan `json:"dashboard"`
	Browser   Plan `json:"browser"`
	PTY       Plan `json:"pty"`
	Recording Plan `json:"recording"`
	// Terminal names those of stdin, stdout and stderr that are terminals.
	Terminal []string `json:"terminal"`
	// Size is that of the child's terminal, as 80x24.
	Size string `json:"size"`
	// OuterRunID is the run in which this was asked.
	OuterRunID string `json:"outer_run_id,omitempty"`
}

// The levels of a Finding.
const (
	LevelError = "error" // the run would not start
	LevelWarn  = "warn"  // something would not be captured
	LevelNote  = "note"  // good to know
)

// Finding is a sentence about what stands in the way.
type Finding struct {
	Level  string `json:"level"`
	Source string `json:"source,omitempty"` // that it is about
	Text   string `json:"text"`
}

// Plan says whether a run would have something, and why. Source is empty for what
// is no source.
type Plan struct {
	Source string `json:"source,omitempty"`
	On     bool   `json:"on"`
	Why    string `json:"why"`
}

// Program is what COMMAND is.
type Program struct {
	Args  []string `json:"args"` // secrets masked
	Found bool     `json:"found"`
	// Path is the file that would be run, as it was found along PATH.
	Path string `json:"path,omitempty"`
	// What says what it is in a few words, Interpreter what a script names in its
	// first line.
	What        string `json:"what,omitempty"`
	Interpreter string `json:"interpreter,omitempty"`
	// Captured says what would be captured from it, as a phrase.
	Captured string `json:"captured"`
}

// Variable is an environment variable.
type Variable struct {
	Name string `json:"name"`
	// Value is what obsrun would set, with PORT, TOKEN and RUN_ID for what is not
	// known yet; null for a value of the user's, which is not shown.
	Value *string `json:"value,omitempty"`
	// Replaces tells that the user has set it otherwise.
	Replaces bool   `json:"replaces,omitempty"`
	Why      string `json:"why"`
}

// Setting is a flag that is set.
type Setting struct {
	Name string `json:"name"`
	// From is "flag", the name of an environment variable, or "obsrun.yaml".
	From string `json:"from"`
	// Ignored says why one of obsrun.yaml does not count, empty where it does.
	Ignored string `json:"ignored,omitempty"`
}

// Place is the log directory.
type Place struct {
	Path string `json:"path"` // absolute
	// Exists tells whether it is there already, Writable whether a run could be
	// recorded in it, or make it.
	Exists   bool `json:"exists"`
	Writable bool `json:"writable"`
	// Latest is what stands at latest: nothing, link, directory or file.
	Latest string `json:"latest"`
}

// NewDiagnosis gives one in which no list is null.
func NewDiagnosis(version string) Diagnosis {
	return Diagnosis{
		Schema: telemetry.SchemaVersion, Version: version, Findings: []Finding{}, Sources: []Plan{},
		Environment: []Variable{}, LeftAlone: []Variable{}, Removed: []string{}, Settings: []Setting{}, Terminal: []string{},
	}
}

// Find adds a finding, after those that are as bad; the same sentence once.
func (d *Diagnosis) Find(level, source, text string) {
	rank := map[string]int{LevelError: 0, LevelWarn: 1, LevelNote: 2}
	at := len(d.Findings)
	for i, f := range d.Findings {
		if f.Text == text {
			return
		}
		if rank[f.Level] > rank[level] && at == len(d.Findings) {
			at = i
		}
	}
	d.Findings = append(d.Findings, Finding{})
	copy(d.Findings[at+1:], d.Findings[at:])
	d.Findings[at] = Finding{Level: level, Source: source, Text: text}
}
