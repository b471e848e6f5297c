package export

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

// JUnit writes the run as JUnit XML, as CI systems read it: the elements and
// attributes that Jenkins' junit-10.xsd and the readers of GitLab, Buildkite and
// GitHub's reporters have in common
// (https://github.com/testmoapp/junitxml is the best description of the format).
//
// The run is the suite, and each agent a test case: the phase is its class, its
// time all attempts together. An agent that ended error, was lost, or was silent
// and never heard of again is a failure; one that resumed is none. An agent that
// was cancelled is skipped, as is one that waits or works in a run that goes on. A
// run that did not end well is a case of its own, the last, so that no failed run
// is green. Equal names in a phase have their span's id behind them.
func JUnit(w io.Writer, r Run) error {
	s := report.Summarize(r.State)
	info := r.State.Info()
	suite := junitSuite{
		Name: xmlName(cmp.Or(s.RunID, "obsrun")), Time: junitTime(s.TotalWallMS), Host: xmlText(info.Host),
		Stamp: strings.Split(s.StartedAt, ".")[0], // the format has neither fraction nor zone
	}
	for _, p := range []junitProperty{
		{"status", s.Status}, {"command", strings.Join(s.Command, " ")}, {"source_repo", s.SourceRepo}, {"source_commit", s.SourceCommit},
		{"total_tokens", fmt.Sprint(s.Totals.TotalTokens)}, {"total_tool_uses", fmt.Sprint(s.Totals.TotalToolUses)},
	} {
		if p.Value != "" {
			suite.Properties = append(suite.Properties, junitProperty{p.Name, xmlText(p.Value)})
		}
	}
	silent := make(map[string]report.Stall) // by agent, what was never heard of again
	for _, stall := range s.Stalls {
		if stall.Open {
			silent[cmp.Or(stall.Agent, stall.SpanID)] = stall
		}
	}
	times := make(map[junitPlace]int)
	for i := range s.Agents {
		times[placeOf(&s.Agents[i])]++
	}
	for i := range s.Agents {
		a := &s.Agents[i]
		c := junitCase{Time: junitTime(a.WallMS), Out: consumed(a)}
		at := placeOf(a)
		if c.Class, c.Name = at.class, at.name; times[at] > 1 {
			c.Name += " [" + xmlName(a.ID) + "]"
		}
		stall, open := silent[a.ID]
		idle := time.Duration(stall.IdleMS) * time.Millisecond
		switch {
		case a.Status == run.Failed:
			c.fail(a.Status, cmp.Or(a.Error, "it ended with an error and gave no reason"))
		case a.Status == run.Lost && a.StartMS == nil:
			c.fail(a.Status, "it was still waiting when the run ended")
		case a.Status == run.Lost && open:
			c.fail(a.Status, fmt.Sprintf("it was still open when the run ended, and had been silent for %v when it was flagged", idle))
		case a.Status == run.Lost:
			c.fail(a.Status, "it was still open when the run ended")
		case a.Status == run.Stalled:
			c.fail(run.Stalled, fmt.Sprintf("it had been silent for %v when it was flagged, and was not heard of again", idle))
		case a.Status == run.Cancelled:
			c.Skipped = &junitSkipped{cmp.Or(xmlText(a.Error), a.Status)}
		case a.Status != run.Done:
			c.Skipped = &junitSkipped{a.Status + ": the run goes on"}
		}
		suite.add(c)
	}
	if s.Status == run.StatusError || s.Status == run.StatusInterrupted {
		c := junitCase{Class: "run", Name: "the run itself", Time: junitTime(s.TotalWallMS)}
		c.fail(s.Status, cmp.Or(info.Error, ended(&s)))
		suite.add(c)
	}
	out := junitSuites{Name: "obsrun", Tests: suite.Tests, Failures: suite.Failures, Skipped: suite.Skipped, Time: suite.Time, Suites: []junitSuite{suite}}
	b, err := xml.MarshalIndent(out, "", "  ")
	if err == nil {
		_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, b)
	}
	if err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	return nil
}

// junitPlace is where a case stands.
type junitPlace struct{ class, name string }

func placeOf(a *report.Agent) junitPlace {
	return junitPlace{xmlName(cmp.Or(a.Phase, "no phase")), xmlName(a.Name)}
}

// ended says how the run did.
func ended(s *report.Summary) string {
	switch {
	case s.Signal != "":
		return "the command was ended by signal " + s.Signal
	case s.ExitCode != nil && s.Status == run.StatusError:
		return fmt.Sprintf("the command's exit status was %d", *s.ExitCode)
	}
	return "the run was " + s.Status
}

func consumed(a *report.Agent) string {
	text := fmt.Sprintf("%s; tokens: %d; tool uses: %d", xmlText(a.Kind), a.Tokens, a.ToolUses)
	if a.Attempts > 1 {
		text += fmt.Sprintf("; attempts: %d", a.Attempts)
	}
	return text
}

func junitTime(ms int64) string { return fmt.Sprintf("%d.%03d", ms/1000, ms%1000) }

// Text in XML can not have most control characters, whatever the escape: they are
// made visible.
func xmlText(text string) string { return shorten(report.Visible(text), 2000) }
func xmlName(text string) string { return shorten(report.Visible(text), 200) }

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"` // seconds
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Stamp      string          `xml:"timestamp,attr,omitempty"`
	Host       string          `xml:"hostname,attr,omitempty"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Skipped *junitSkipped `xml:"skipped"`
	Failure *junitFailure `xml:"failure"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitSkipped struct {
	Message string `xml:"message,attr"`
}

type junitFailure struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func (c *junitCase) fail(kind, text string) {
	text = xmlText(text)
	c.Failure = &junitFailure{Type: kind, Message: shorten(text, 200), Text: text}
}

func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	if c.Skipped != nil {
		s.Skipped++
	}
}
