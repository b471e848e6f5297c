package supervisor

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/obsrun/obsrun/supervisor/monitor"
)

// Command is what to run and where its input comes from and its output goes.
type Command struct {
	// Args is COMMAND and its arguments; Args[0] is searched as [Resolve] does.
	Args []string
	// Env is COMMAND's complete environment.
	Env []string
	// Dir is COMMAND's working directory; "" is this process's.
	Dir string
	// NoPTY gives COMMAND the descriptors below instead of a pseudo-terminal. Cast
	// is then not used.
	NoPTY bool
	// Stdin, Stdout and Stderr are obsrun's own descriptors; nil is /dev/null. They
	// stay the caller's, who must not use them before [Process.Wait] returned.
	Stdin, Stdout, Stderr *os.File
	// Cast records the terminal; nil records nothing.
	Cast *Cast
	// OnInterrupt is called at the first INT, TERM or HUP that reaches obsrun or the
	// run, with that signal, on a goroutine of its own. Wait waits for it to return.
	OnInterrupt func(os.Signal)
}

// Process is a running COMMAND. Its methods may be called from any goroutine.
//
// From [Start] to [Process.Close] the signals INT, QUIT, TERM, HUP, USR1, USR2, WINCH,
// TSTP and CONT of this operating system process belong to it: one Process at a time.
type Process struct {
	command Command
	nulls   []*os.File // stand for descriptors that were not given
	pid     int
	monitor *leader
	layout  *layout
	keys    *keyboard // the user's terminal; nil: none, or none that is used
	typist  *typist   // nil without a pseudo-terminal
	started time.Time // the origin of the two clocks below
	output  atomic.Int64
	input   atomic.Int64

	signals   chan os.Signal
	heard     []os.Signal // what signals receives
	late      chan os.Signal
	requests  chan func()
	broken    error // why obsrun's stdout failed; of the conductor
	ignored   map[os.Signal]bool
	interrupt sync.Once
	callback  sync.WaitGroup // OnInterrupt
	reached   atomic.Bool    // INT, TERM or HUP reached the run

	job  jobState
	exit Exit
	done chan struct{} // closed when exit is complete
	shut chan struct{} // closed by Close
	once sync.Once
	gone chan struct{} // closed when the conductor has ended

	alone chan struct{} // closed when the monitor has ended
}

// Start runs c. An error is a [*StartError].
func Start(c Command) (*Process, error) { return Prepare(c).Start(c.Env, c.Cast, c.OnInterrupt) }

// Prepared is a command that can be started at once: the monitor, which takes a few
// milliseconds to come up, does so meanwhile.
type Prepared struct {
	process *Process // nil: it was started, or is not wanted any more
	err     error    // why it cannot be started
}

// Prepare makes ready for c, of which Env, Cast and OnInterrupt are not looked at: they are
// what [Prepared.Start] is given. What fails, fails there. Until then no key is read, no
// mode is changed, and signals are the caller's.
func Prepare(c Command) *Prepared {
	p := &Process{
		command:  c,
		signals:  make(chan os.Signal, 64),
		late:     make(chan os.Signal, 4),
		requests: make(chan func()),
		done:     make(chan struct{}),
		shut:     make(chan struct{}),
		gone:     make(chan struct{}),
		alone:    make(chan struct{}),
	}
	return &Prepared{p, p.prepare()}
}

// Close gives up what was made ready, unless it was started.
func (r *Prepared) Close() {
	if p := r.process; p != nil {
		r.process = nil
		p.release()
	}
}

// Start runs the command in this environment, once. Cast and onInterrupt are as in
// [Command]. An error is a [*StartError].
func (r *Prepared) Start(env []string, cast *Cast, onInterrupt func(os.Signal)) (*Process, error) {
	defer r.Close()
	p := r.process
	c := &p.command
	c.Env, c.Cast, c.OnInterrupt = env, cast, onInterrupt
	path, err := c.check()
	if err == nil {
		err = r.err
	}
	if err == nil {
		err = p.start(path)
	}
	if err != nil {
		return nil, err
	}
	r.process = nil
	go p.conduct()
	return p, nil
}

// check looks at what was asked for, and gives the path of the program.
func (c *Command) check() (path string, err error) {
	if len(c.Args) == 0 {
		return "", &StartError{statusFault, errors.New("run: no command was given")}
	}
	for _, list := range [][]string{c.Args, c.Env, {c.Dir}} {
		for _, s := range list {
			if _, err := syscall.BytePtrFromString(s); err != nil {
				return "", &StartError{statusCannotRun, errors.New("run: an argument or environment entry contains a NUL byte")}
			}
		}
	}
	if c.Dir != "" {
		if info, err := os.Stat(c.Dir); err != nil {
			return "", fault("change directory", err)
		} else if !info.IsDir() {
			return "", fault("change directory", &os.PathError{Op: "chdir", Path: c.Dir, Err: unix.ENOTDIR})
		}
	}
	return Resolve(c.Args[0], c.Env, c.Dir)
}

// prepare sets everything up that needs no word of the run.
func (p *Process) prepare() error {
	c := &p.command
	for _, f := range []**os.File{&c.Stdin, &c.Stdout, &c.Stderr} {
		if *f == nil {
			null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				return fault("open /dev/null", err)
			}
			*f = null
			p.nulls = append(p.nulls, null)
		}
	}
	if keys := openKeyboard(int(c.Stdin.Fd())); keys != nil {
		p.keys = keys
	}
	var err error
	if p.layout, err = p.arrange(); err != nil {
		return &StartError{statusFault, advised(err)}
	}
	if c.NoPTY && p.keys != nil && !p.keys.job {
		// A terminal that is not ours to control has no foreground to give.
		p.keys.close()
		p.keys = nil
	}
	p.learnIgnored()
	if p.monitor, err = lead(p.layout, p.keys); err != nil {
		return &StartError{statusFault, advised(err)}
	}
	return nil
}

// start has the monitor run the command.
func (p *Process) start(path string) error {
	c := &p.command
	p.started = time.Now()
	p.listen()
	p.record()
	p.job.want = isTerminal(c.Stdin) && !pipeline(c.Stdin, c.Stdout)
	front := p.keys == nil || p.job.want && p.keys.foreground()
	l := monitor.Launch{Path: path, Dir: c.Dir, Args: c.Args, Env: c.Env, Foreground: front}
	for sig := range p.ignored {
		l.Ignored = append(l.Ignored, sig.(syscall.Signal))
	}
	if c.NoPTY {
		l.Home = unix.Getpgrp()
		l.Foreground = front && p.keys != nil
	}
	if p.layout.readSize() { // nobody told of it
		for _, s := range p.layout.screens {
			_ = s.resize(&p.layout.size)
		}
	}
	if front && p.keys != nil && len(p.layout.screens) > 0 {
		p.layout.adopt(p.keys) // later, COMMAND may be setting a mode of its own
	}
	var err error
	if p.pid, err = p.monitor.launch(l); err != nil {
		p.monitor = nil // it has ended
		var errno unix.Errno
		if errors.As(err, &errno) && p.pid == refusedPID {
			return refused(path, c.Dir, errno)
		}
		return &StartError{statusFault, advised(err)}
	}
	if p.keys != nil {
		p.keys.tell = p.monitor.tell
	}
	if firstProcess() {
		pid := p.monitor.pid
		p.spawn(func() { reapOrphans(pid) })
	}
	p.begin(front)
	return nil
}

// begin lets output, and in the foreground keys, flow.
func (p *Process) begin(front bool) {
	if p.command.Cast != nil && len(p.layout.screens) > 0 {
		size := p.layout.size
		p.command.Cast.begin(p.started, size.Col, size.Row, p.spawn)
	}
	if len(p.layout.screens) > 0 && p.keys != nil {
		p.typist = &typist{
			keys:      p.keys,
			master:    p.layout.screens[0].master,
			typed:     func() { p.input.Store(int64(p.since())) },
			interrupt: func() { p.interrupted(syscall.SIGINT) },
			hungUp:    func() { go p.request(p.terminalGone) }, // the conductor may be waiting for the typist
			lost:      func() { go p.request(p.reassess) },
			spawn:     p.spawn,
		}
	}
	if front {
		p.hold()
	}
	for _, s := range p.layout.screens {
		p.spawn(s.copy)
	}
}

// spawn runs f on a goroutine that does not leave the terminal raw if it panics.
func (p *Process) spawn(f func()) {
	go func() {
		defer p.restoreOnPanic()
		f()
	}()
}

func (p *Process) restoreOnPanic() {
	if r := recover(); r != nil {
		p.keys.restore()
		panic(r)
	}
}

func (p *Process) since() time.Duration { return time.Since(p.started) }

// PID is the process id of COMMAND.
func (p *Process) PID() int { return p.pid }

// LastOutput is when COMMAND last wrote to its terminal, with a monotonic reading; the
// start if it never did. With NoPTY nobody sees what it writes, so it is the start.
func (p *Process) LastOutput() time.Time { return p.started.Add(time.Duration(p.output.Load())) }

// LastInput is when a key was last pressed; the start if none was.
func (p *Process) LastInput() time.Time { return p.started.Add(time.Duration(p.input.Load())) }

// RestoreTerminal puts the user's terminal in order at once, for a caller that is about
// to die. It may be called at any time and any number of times; Wait does it, and the
// monitor does it should this process die without.
func (p *Process) RestoreTerminal() { p.keys.restore() }

// Terminate sends TERM to COMMAND's process groups, and KILL if it has not ended after
// grace. It returns at once.
func (p *Process) Terminate(grace time.Duration) {
	go p.request(func() {
		p.job.ours = true
		p.signal(monitor.ToBoth, syscall.SIGTERM)
		p.signal(monitor.ToBoth, syscall.SIGCONT) // one that is stopped would not hear it
		p.later(grace, func() { p.signal(monitor.ToBoth, syscall.SIGKILL) })
	})
}

// Wait returns when COMMAND has ended, what it wrote has been delivered, what it left
// running has been hung up, and the terminal is restored.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

// Late delivers the signals INT, TERM, HUP and QUIT that reach this process after
// COMMAND ended, until [Process.Close]. Those that come before Wait returns count as
// interruptions of the run, too.
func (p *Process) Late() <-chan os.Signal { return p.late }

// Close gives the signals back. Call it last, after Wait: from here on INT, TERM and
// HUP end this process.
func (p *Process) Close() {
	<-p.done
	p.once.Do(func() { close(p.shut) })
	<-p.gone
}

// learnIgnored finds out which signals this process was started to ignore: catching one
// would end that, here and in COMMAND.
func (p *Process) learnIgnored() {
	p.ignored = map[os.Signal]bool{}
	for _, sig := range ignoredStops() {
		p.ignored[sig] = true
	}
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(sig) {
			p.ignored[sig] = true
		}
	}
	if p.ignored[syscall.SIGINT] && !p.ignored[syscall.SIGQUIT] {
		// A shell ignores both for what it starts with &, and Go forgets this one.
		p.ignored[syscall.SIGQUIT] = true
		signal.Ignore(syscall.SIGQUIT)
	}
}

// listen catches the signals that are passed on.
func (p *Process) listen() {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1,
		syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT} {
		if !p.ignored[sig] {
			p.heard = append(p.heard, sig)
		}
	}
	signal.Notify(p.signals, p.heard...)
}

// release frees what prepare and start set up.
func (p *Process) release() {
	signal.Stop(p.signals)
	if p.monitor != nil {
		p.monitor.dismiss()
	}
	if p.layout != nil {
		p.layout.close()
	}
	for _, f := range p.nulls {
		f.Close()
	}
	if p.keys != nil {
		p.keys.close()
	}
}

// pipeline reports whether stdin or stdout is a pipe, so that another program may want
// the keys.
func pipeline(files ...*os.File) bool {
	for _, f := range files {
		var st unix.Stat_t
		if unix.Fstat(int(f.Fd()), &st) == nil {
			if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFIFO || kind == unix.S_IFSOCK {
				return true
			}
		}
	}
	return false
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
