package report

import (
	"fmt"
	"io"
	"strings"
)

// DiagnosisText writes the diagnosis for a person: what stands in the way first.
func DiagnosisText(w io.Writer, d Diagnosis, opt TextOptions) error {
	p := newPrinter(w, opt)
	p.program(&d)
	p.findings(&d)
	p.text("")
	p.plans(&d)
	p.text("")
	p.surroundings(&d)
	p.variables(&d)
	p.settings(&d)
	return p.err
}

// program says what would be run, and whether it could be.
func (p *printer) program(d *Diagnosis) {
	c := d.Command
	if c != nil {
		p.line(fragment{"command  ", faint}, fragment{shellWords(c.Args), bold})
		switch {
		case c.Found && c.What != "":
			p.line(fragment{"which is ", faint}, fragment{c.Path, ""}, fragment{", " + c.What, faint})
		case c.Found:
			p.line(fragment{"which is ", faint}, fragment{c.Path, ""})
		case !c.Found:
			p.line(fragment{"which is ", faint}, fragment{"not there", red})
		}
	}
	verdict := fragment{"would start", green}
	switch {
	case d.Exit != 0:
		verdict = fragment{fmt.Sprintf("would not start: exit status %d", d.Exit), red}
	case c == nil:
		verdict = fragment{"obsrun can run here", green}
	}
	p.line(fragment{"verdict  ", faint}, verdict)
	if c != nil && d.Exit == 0 {
		p.paragraph(c.Captured, fragment{"captured ", faint})
	}
}

func (p *printer) findings(d *Diagnosis) {
	if len(d.Findings) == 0 {
		p.line(fragment{"         ", faint}, fragment{"nothing stands in the way", ""})
		return
	}
	p.text("")
	styles := map[string]style{LevelError: red, LevelWarn: yellow, LevelNote: faint}
	for _, f := range d.Findings {
		p.paragraph(f.Text, fragment{fmt.Sprintf("%-9s", f.Level), styles[f.Level]})
	}
}

// plans are what a run would have.
func (p *printer) plans(d *Diagnosis) {
	t := table{columns: []column{
		{head: "SOURCE", flex: true, keep: 9},
		{head: "STATE", keep: 8},
		{head: "WHY", flex: true, keep: 7},
	}}
	add := func(name string, plan Plan) {
		state, mark := "off", faint
		if plan.On {
			state, mark = "on", green
		}
		t.row(fragment{name, ""}, fragment{state, mark}, fragment{plan.Why, ""})
	}
	for _, plan := range d.Sources {
		add(plan.Source, plan)
	}
	add("", Plan{Why: ""})
	t.rows[len(t.rows)-1][1] = fragment{}
	add("dashboard", d.Dashboard)
	add("browser", d.Browser)
	add("pty", d.PTY)
	add("recording", d.Recording)
	p.table(t)
}

// surroundings are where the run would be.
func (p *printer) surroundings(d *Diagnosis) {
	state := "is made by the first run"
	switch {
	case !d.LogDir.Writable:
		state = "can not be written"
	case d.LogDir.Exists:
		state = "can be written"
	}
	if d.LogDir.Latest != "" && d.LogDir.Latest != "nothing" {
		state += ", latest is a " + d.LogDir.Latest
	}
	p.line(fragment{"log dir  ", faint}, fragment{d.LogDir.Path + ": " + state, ""})
	terminals := "none of stdin, stdout and stderr is one"
	if len(d.Terminal) > 0 {
		terminals = strings.Join(d.Terminal, ", ")
	}
	p.line(fragment{"terminal ", faint}, fragment{terminals + "; COMMAND's has " + d.Size, ""})
	if d.OuterRunID != "" {
		p.line(fragment{"inside   ", faint}, fragment{d.OuterRunID, ""})
	}
}

// variables are what becomes of the environment.
func (p *printer) variables(d *Diagnosis) {
	table := func(head string, list []Variable) {
		if len(list) == 0 {
			return
		}
		p.text("")
		t := table{columns: []column{{head: head, flex: true, keep: 9}, {head: "WHY", flex: true, keep: 5}}}
		for _, v := range list {
			text, why := v.Name, v.Why
			if v.Value != nil {
				text += "=" + *v.Value
			}
			if v.Replaces {
				why += " (instead of yours)"
			}
			t.row(fragment{text, ""}, fragment{why, faint})
		}
		p.table(t)
	}
	table("COMMAND IS GIVEN", d.Environment)
	table("LEFT ALONE", d.LeftAlone)
	if len(d.Removed) > 0 {
		p.text("")
		p.paragraph(strings.Join(d.Removed, ", "), fragment{"not passed on: ", faint})
	}
}

func (p *printer) settings(d *Diagnosis) {
	if len(d.Settings) == 0 {
		return
	}
	p.text("")
	t := table{columns: []column{{head: "SETTING", flex: true, keep: 9}, {head: "FROM", flex: true, keep: 8}, {head: "", flex: true, keep: 7}}}
	for _, s := range d.Settings {
		ignored := ""
		if s.Ignored != "" {
			ignored = "ignored: " + s.Ignored
		}
		t.row(fragment{s.Name, ""}, fragment{s.From, ""}, fragment{ignored, yellow})
	}
	p.table(t)
}
