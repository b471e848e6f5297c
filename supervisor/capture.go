package supervisor

import (
	"errors"
	"sync"
	"time"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// ProcessConfig is what [FollowProcesses] needs of the run.
type ProcessConfig struct {
	// PID is the process id of COMMAND, Args what was run: both as it was started, since
	// it may have ended by now.
	PID  int
	Args []string
	// Root is the id of the run's root span.
	Root string
	// Record takes span events, and at most one log event.
	Record func(telemetry.Event) error
	// Mask hides the secrets of a command line.
	Mask func(args []string) []string

	kernel kernel // tests set it
}

// Processes records the processes of the run: a span of kind "process" for COMMAND and
// for what it starts, and what all of them use together over time.
//
// It looks once a second, and what happens between two looks it does not see:
//
//   - A process that was there at one look only has no span. Its CPU time and IO are
//     counted where its parent waited for it, on Linux.
//   - The end of a process is up to a second late, and its CPU time is that of the last
//     look at it. IO is asked for every 5 s.
//   - The exit status is known of COMMAND; of others only where a look finds one that has
//     ended and was not waited for, on Linux. The kernel tells it to the parent alone.
//   - A process that left the session and lost its parent between two looks is lost from
//     sight, and so is a change of program that keeps the name.
//   - Memory is resident memory, so what processes share counts for each. Its peak is the
//     highest seen, on Linux also what the kernel says of it every 10 s.
//   - IO is that of storage: what the page cache answers, pipes and sockets are not in it.
//     On Linux that of a process includes its children's that it waited for. Processes of
//     other users do not tell theirs.
//
// Nothing is read of environments. Where very many processes come and go, those that stay
// for longer are chosen, and not more than 2,000.
//
// A span begins with attrs pid, ppid, argv (masked, and cut where it is long) and cwd.
// One whose program replaces itself by another is told again with the same id. It ends
// with attrs exit_code or signal, cpu_ms, peak_rss_bytes, read_bytes and write_bytes, each
// where it is known; COMMAND also with processes_seen and processes_shown, how many there
// were and how many of them have a span. What is left running at the end of the run has no
// end.
//
// The series are events span_update of COMMAND's span, with attrs
//
//	{"sample": {"cpu_ms": 5120, "rss_bytes": 73400320, "read_bytes": 0, "write_bytes": 4096, "processes": 3}}
//
// in which cpu_ms, read_bytes and write_bytes are totals since COMMAND's start,
// rss_bytes the highest sum since the sample before, processes the number that lives;
// read_bytes and write_bytes are absent where they are not known. What
// lies between two samples is read as a straight line. The last one is in the end of
// COMMAND's span.
type Processes struct {
	config ProcessConfig
	mu     sync.Mutex
	tree   *processTree
	now    processCount
	at     time.Time // of that look
	began  time.Time
	census *census
	gauge  *gauge
	once   sync.Once
	stop   chan struct{}
	done   chan struct{}
}

const (
	lookEvery = time.Second
	firstLook = 100 * time.Millisecond // doubled until it is lookEvery: many runs are short
)

// FollowProcesses tells of COMMAND, which has just been started, and looks at its
// processes until Close.
func FollowProcesses(c ProcessConfig) *Processes {
	if c.kernel.list == nil {
		c.kernel = realKernel()
	}
	now := time.Now()
	p := &Processes{
		config: c, tree: newProcessTree(c.PID, c.kernel, true), began: now, at: now,
		census: newCensus(c, now), gauge: newGauge(now),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	p.tree.used = spent(nil, p.tree.known) // it began with COMMAND
	p.now = p.tree.count()
	go p.follow(!p.tell([]telemetry.Event{p.census.begin(p.tree.known)}))
	return p
}

// clock is the time as the run counts it: a wall clock that is set meanwhile changes
// nothing.
func (p *Processes) clock() time.Time { return p.began.Add(time.Since(p.began)) }

func (p *Processes) follow(over bool) {
	defer close(p.done)
	pause := firstLook
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for !over {
		select {
		case <-p.stop:
			return
		case <-timer.C:
		}
		over = !p.tell(p.observe(pause / 2))
		pause = min(2*pause, lookEvery)
		timer.Reset(pause)
	}
}

// observe gives what there is to tell. One look serves everybody: it is taken only
// where the last is older than fresh.
func (p *Processes) observe(fresh time.Duration) []telemetry.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	if now.Sub(p.at) > fresh {
		p.take(now)
	}
	events := p.census.update(now, p.tree.known)
	for _, s := range p.gauge.observe(p.at, p.now) {
		events = append(events, telemetry.Event{
			Type: telemetry.SpanUpdate, SpanID: p.census.id, Source: telemetry.SourceProcess,
			TS: seconds(s.at), Attrs: telemetry.Attrs(map[string]any{"sample": s}),
		})
	}
	return events
}

func (p *Processes) take(now time.Time) { p.now, p.at = p.tree.look(), now }

// look takes a look for somebody who needs to know what is the case now.
func (p *Processes) look() processCount {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.take(p.clock())
	return p.now
}

// tell records events, and reports whether the run still takes any. One that is lost to
// a full disk is not told again.
func (p *Processes) tell(events []telemetry.Event) bool {
	for _, e := range events {
		if errors.Is(p.config.Record(e), run.ErrClosed) {
			return false
		}
	}
	return true
}

// Close takes a last look and records how the processes ended, COMMAND as Wait says. The
// watchdog must have ended.
func (p *Processes) Close(exit Exit) {
	p.once.Do(func() {
		close(p.stop)
		<-p.done
		now := p.clock()
		if p.tree.looks == 1 && exit.Err == nil && len(exit.Survivors) == 0 && !exit.Ended.IsZero() {
			p.tree.known, p.at = nil, now // a short run: nobody was met, and nobody is left
		} else {
			p.take(now)
		}
		p.config.kernel.close()
		p.now.used = max(p.now.used, exit.CPU)
		if !exit.Ended.IsZero() {
			now = p.began.Add(exit.Ended.Sub(p.began))
		}
		p.tell(append(p.census.update(p.at, p.tree.known), p.census.finish(exit, p.gauge.last(now, p.now))))
	})
}

func seconds(t time.Time) telemetry.Float { return telemetry.F(float64(t.UnixMicro()) / 1e6) }
