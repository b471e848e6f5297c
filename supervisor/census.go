package supervisor

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// census tells who lives among the processes of a run, as span events. It keeps nothing
// of a process that has gone, but for COMMAND.
//
// A build can start ten thousand processes. So that the journal stays one that a person
// can read, only what is there at two looks gets a span; where there are many already,
// only what stays for longer; and beyond maxProcessSpans nobody does.
type census struct {
	ProcessConfig
	id      string // of COMMAND's span
	began   time.Time
	people  map[int]*person
	command *person
	spans   int // given
	seen    int // processes, with a span or without
	full    bool
}

// person is a process that was there at the last look.
type person struct {
	processStat
	id      string // of its span; empty: it has none
	above   string // span of the nearest process above that has one
	met     time.Time
	highest int64 // resident memory
	told    [16]byte
	renamed int
	ended   bool // nobody waits for it, and its end was told
}

const (
	maxProcessSpans = 2000
	// maxRenames bounds how often a process is told again that changes its name.
	maxRenames = 4
	// maxArgs is how many bytes of a command line are read, keptArgs how many of its
	// words are kept.
	maxArgs, keptArgs = 16 << 10, 64
)

// stay is how long a process must have been there to get a span.
func stay(spans int) time.Duration {
	switch {
	case spans < maxProcessSpans/4:
		return lookEvery * 9 / 10 // two looks, one of which may come late
	case spans < maxProcessSpans/2:
		return 5 * time.Second
	case spans < maxProcessSpans*3/4:
		return 20 * time.Second
	}
	return time.Minute
}

func newCensus(c ProcessConfig, now time.Time) *census {
	return &census{ProcessConfig: c, id: run.NewSpanID(), began: now, people: make(map[int]*person)}
}

// begin tells of COMMAND, which may have ended by now.
func (c *census) begin(known map[int]processStat) telemetry.Event {
	p, here := known[c.PID]
	p.pid = c.PID
	c.command = &person{processStat: p, id: c.id, above: c.Root, met: c.began, highest: p.rss, told: p.name}
	c.spans++
	c.seen++
	if here {
		c.people[c.PID] = c.command
	}
	return c.start(c.command, c.Args, c.began)
}

// update takes in who is known now, and gives what there is to tell.
func (c *census) update(now time.Time, known map[int]processStat) (events []telemetry.Event) {
	var gone []*person
	for pid, who := range c.people {
		p, here := known[pid]
		if here = here && p.start == who.start; here {
			who.take(p)
		} else {
			delete(c.people, pid)
		}
		if (!here || p.state == zombie) && !who.ended {
			who.ended = true
			gone = append(gone, who)
		}
	}
	// Children end before their parents.
	slices.SortFunc(gone, func(a, b *person) int { return byAge(b.processStat, a.processStat) })
	for _, who := range gone {
		if who.id != "" && who != c.command {
			events = append(events, who.end())
		}
	}
	var some []processStat // of whom there may be something to tell
	for pid, p := range known {
		if who := c.people[pid]; who == nil || who.id == "" || who.told != p.name {
			some = append(some, p)
		}
	}
	slices.SortFunc(some, byAge)
	for _, p := range some {
		events = append(events, c.meet(now, p)...)
	}
	return events
}

func byAge(a, b processStat) int {
	return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.pid, b.pid))
}

// take updates what is known of a process. What a zombie does not tell any more stays.
func (who *person) take(p processStat) {
	if !p.metered && who.metered {
		p.own.read, p.own.written = who.own.read, who.own.written
		p.waited.read, p.waited.written = who.waited.read, who.waited.written
		p.metered = true
	}
	p.own.cpu = max(p.own.cpu, who.own.cpu)
	who.processStat = p
	who.highest = max(who.highest, p.rss, p.peak)
}

// meet finds out whether there is something new to tell of a process that lives.
func (c *census) meet(now time.Time, p processStat) []telemetry.Event {
	who := c.people[p.pid]
	if who == nil {
		who = &person{processStat: p, above: c.id, met: now, highest: max(p.rss, p.peak), ended: p.state == zombie}
		c.people[p.pid] = who
		c.seen++
	}
	if above := c.people[p.parent]; who.id == "" && above != nil && above != who && above.start <= p.start {
		who.above = cmp.Or(above.id, above.above)
	}
	switch {
	case who.ended:
		return nil
	case who.id != "":
		if p.name == who.told || who.renamed == maxRenames {
			return nil
		}
		who.renamed++
	case now.Sub(who.met) < stay(c.spans):
		return nil
	case c.spans == maxProcessSpans:
		if c.full {
			return nil
		}
		c.full = true
		return []telemetry.Event{{
			Type: telemetry.Log, Level: "info", SpanID: c.id, Source: telemetry.SourceProcess,
			Message: fmt.Sprintf("%d processes were shown; those to come are only counted", c.spans),
		}}
	default:
		who.id = run.NewSpanID()
		c.spans++
	}
	who.told = p.name
	return []telemetry.Event{c.start(who, c.kernel.args(p.pid), now)}
}

// start tells that the process began, or goes on as another program.
func (c *census) start(who *person, args []string, now time.Time) telemetry.Event {
	if c.Mask != nil && len(args) > 0 {
		args = c.Mask(args)
	}
	attrs := map[string]any{"pid": who.pid}
	began := now
	if who.start != 0 { // else it had ended before the first look
		attrs["ppid"] = who.parent
		if dir := c.kernel.dir(who.pid); dir != "" {
			attrs["cwd"] = dir
		}
		began = c.kernel.began(&who.processStat, now)
	}
	if len(args) > 0 {
		argv := make([]string, 0, min(len(args), keptArgs+1))
		for i, arg := range args {
			if i == keptArgs {
				argv = append(argv, "…")
				break
			}
			argv = append(argv, clip(arg))
		}
		attrs["argv"] = argv
	}
	switch {
	case began.Before(c.began):
		began = c.began
	case began.After(now):
		began = now
	}
	return telemetry.Event{
		Type: telemetry.SpanStart, SpanID: who.id, Parent: who.above, Kind: telemetry.KindProcess, Name: who.program(args),
		Source: telemetry.SourceProcess, TS: seconds(began), Attrs: telemetry.Attrs(attrs),
	}
}

// program is the name of the program: how it was called, else what the kernel calls it.
func (who *person) program(args []string) string {
	if len(args) > 0 && !(len(args) == 1 && strings.Contains(args[0], " ")) { // a title that it gave itself
		// A login shell is called with a dash in front.
		if name := clip(strings.TrimPrefix(path.Base(args[0]), "-")); name != "" && name != "." && name != "/" {
			return name
		}
	}
	return cmp.Or(who.label(), "process")
}

// end tells that the process ended, and how, as far as that is known.
func (who *person) end() telemetry.Event {
	e := telemetry.Event{Type: telemetry.SpanEnd, SpanID: who.id, Source: telemetry.SourceProcess}
	attrs := who.used()
	if who.known {
		e.Status, e.Error = outcome(who.status, attrs)
	}
	e.Attrs = telemetry.Attrs(attrs)
	return e
}

// used are the attrs that tell what the process consumed.
func (who *person) used() map[string]any {
	attrs := map[string]any{"cpu_ms": who.own.cpu.Milliseconds()}
	if who.highest > 0 {
		attrs["peak_rss_bytes"] = who.highest
	}
	if who.metered {
		attrs["read_bytes"], attrs["write_bytes"] = who.own.read+who.waited.read, who.own.written+who.waited.written
	}
	return attrs
}

// outcome puts a wait status into attrs and words.
func outcome(status syscall.WaitStatus, attrs map[string]any) (word, reason string) {
	switch {
	case status.Signaled():
		attrs["signal"] = status.Signal().String()
		return telemetry.StatusError, "signal: " + status.Signal().String()
	case status.ExitStatus() != 0:
		attrs["exit_code"] = status.ExitStatus()
		return telemetry.StatusError, fmt.Sprintf("exit status %d", status.ExitStatus())
	}
	attrs["exit_code"] = 0
	return telemetry.StatusOK, ""
}

// finish tells how COMMAND ended, and what all processes used.
func (c *census) finish(exit Exit, last processSample) telemetry.Event {
	e := telemetry.Event{Type: telemetry.SpanEnd, SpanID: c.id, Source: telemetry.SourceProcess, TS: seconds(last.at)}
	attrs := c.command.used()
	attrs["sample"], attrs["processes_seen"], attrs["processes_shown"] = last, c.seen, c.spans
	if exit.Err == nil {
		e.Status, e.Error = outcome(exit.status, attrs)
	}
	e.Attrs = telemetry.Attrs(attrs)
	return e
}
