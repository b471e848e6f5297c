package run

import (
	"cmp"
	"slices"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// rootAttrs are the attrs of the root span that mean something.
type rootAttrs struct {
	RunID        string   `json:"run_id"`
	Command      []string `json:"command"`
	Dir          string   `json:"cwd"`
	Host         string   `json:"host"`
	Version      string   `json:"obsrun_version"`
	SourceRepo   string   `json:"source_repo"`
	SourceCommit string   `json:"source_commit"`
	SourceFrom   string   `json:"source_from"`
	OuterRunID   string   `json:"outer_run_id"`
	ExitCode     *int     `json:"exit_code"`
	ObsrunExit   *int     `json:"obsrun_exit"`
	Signal       string   `json:"signal"`
	Interrupted  string   `json:"interrupted"`
	Error        string   `json:"error"`
	Rejected     int64    `json:"rejected_events"`
	Survivors    []string `json:"survivors"`

	Sources map[string]plannedSource `json:"sources"`
}

// The states of a run.
const (
	StatusRunning     = "running"
	StatusOK          = "ok"
	StatusError       = "error"
	StatusInterrupted = "interrupted"
)

// Info gives what is known of the run as a whole.
func (s *State) Info() Info {
	a := &s.attrs
	info := Info{
		RunID: a.RunID, Status: StatusRunning, StartMS: millis(s.root.startAt), EndMS: millis(s.root.endAt),
		WallMS: millis(s.root.duration), ExitCode: a.ExitCode, ObsrunExit: a.ObsrunExit, Signal: a.Signal,
		Command: orEmpty(a.Command), Dir: a.Dir, Host: a.Host, Version: a.Version,
		SourceRepo: a.SourceRepo, SourceCommit: a.SourceCommit, SourceFrom: a.SourceFrom, OuterRunID: a.OuterRunID,
		Error: a.Error, Survivors: orEmpty(a.Survivors),
	}
	if info.StartMS == 0 {
		info.StartMS = millis(s.origin)
	}
	switch {
	case a.Interrupted != "" || s.abandoned:
		info.Status = StatusInterrupted
	case !s.ended:
	case s.root.status == telemetry.StatusError || (a.ExitCode != nil && *a.ExitCode != 0):
		info.Status = StatusError
	default:
		info.Status = StatusOK
	}
	return info
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// Since gives what changed after line rev, everything for 0. nowMS is the
// reader's clock in Unix milliseconds, for the numbers that depend on it; 0 for a
// run that is over.
func (s *State) Since(rev, nowMS int64) Delta {
	d := Delta{
		From: rev, Rev: s.rev, NowMS: nowMS, Run: s.Info(), Totals: s.Totals(), Phases: s.Phases(),
		Logs: []Entry{}, Stalls: s.Stalls(), Burn: s.Burn(nowMS), CriticalPath: []Segment{},
	}
	d.Resources = s.resourcesSince(rev)
	room := 0
	if rev == 0 {
		room = len(s.order)
	}
	d.Spans = make([]Span, 0, room)
	for n := s.newest; n != nil && (n.rev > rev || rev == 0); n = n.older {
		d.Spans = append(d.Spans, s.view(n))
	}
	slices.SortFunc(d.Spans, func(a, b Span) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, entry := range s.logs {
		if entry.Rev > rev {
			d.Logs = append(d.Logs, entry)
		}
	}
	if s.ended {
		d.CriticalPath = s.CriticalPath()
	}
	if s.ended || rev == 0 {
		d.Sources = s.Sources()
	}
	return d
}

func (s *State) view(n *node) Span {
	v := Span{
		ID: n.id, Seq: n.seq, Name: n.label(), Component: n.component, Kind: n.kind, IsAgent: n.counts(),
		Source: n.source, State: s.stateOf(n),
		QueuedMS: millis(n.queuedAt), Attempts: int(n.attempts), Earlier: n.earlier,
		Usage: n.total.view(), Reported: n.total.reported(tokens),
		Error: n.err, Message: string(n.message), HeardMS: n.heard, Attrs: rawOrNil(n.attrs),
	}
	if n.kind == "" {
		v.Kind = telemetry.KindTask
	}
	v.Unattributed = n.metered || n.agent != nil && n.agent.metered
	if n.parent != nil {
		v.Parent = n.parent.standsFor().id
	}
	if n.parentID != "" && n.same == nil && s.known(n.parentID) == nil {
		v.Awaits = n.parentID
	}
	if n.same != nil {
		v.SameAs = n.same.standsFor().id
	} else if n.muted != nil {
		v.SameAs = n.muted.id
	}
	if n.agent != nil {
		v.Agent = n.agent.id
	}
	if n.phase != nil {
		v.Phase = n.phase.name
	}
	if n.life != waiting {
		v.StartMS = millis(n.startAt)
	}
	switch {
	case n.life == ended:
		v.EndMS, v.DurationMS = millis(n.endAt), millis(n.duration)
	case v.State == Lost:
		v.EndMS = millis(max(s.root.endAt, n.startAt))
		if n.life == open {
			v.DurationMS = millis(max(0, s.root.endAt-n.startAt))
		}
	}
	if n.stall != nil {
		v.IdleMS, v.Evidence = n.stall.IdleMS, rawOrNil(n.stall.Evidence)
	}
	return v
}
