package supervisor

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/obsrun/obsrun/supervisor/monitor"
)

// foregroundPoll is how often obsrun looks whether it was brought to the foreground.
// A shell's fg sends nothing to a job that is running.
const foregroundPoll = 100 * time.Millisecond

// pipeGrace is the time from PIPE to HUP when nobody reads obsrun's stdout any more.
const pipeGrace = 2 * time.Second

// jobState is what the conductor knows of the job. Only the conductor uses it.
type jobState struct {
	want      bool // COMMAND is to have the terminal whenever obsrun is in the foreground
	owned     bool // it has it: keys flow, and its group is in front
	suspended bool // obsrun stopped itself and waits for CONT
	stopped   bool // COMMAND is stopped
	swallow   int  // TSTP signals to come that obsrun sent itself
	continued int  // how often the monitor was asked to continue COMMAND
	terms     int  // TERM signals so far
	ours      bool // a fatal signal was obsrun's own doing, not an interruption
	gone      bool // the user's terminal is
	hungUp    bool // COMMAND was told so, or sent a HUP for another reason
	ended     bool // COMMAND has ended
}

// conduct is the one goroutine that decides: signals, the monitor's reports and
// requests meet here, so their order is one order.
func (p *Process) conduct() {
	defer close(p.gone)
	defer p.restoreOnPanic()
	ticker := time.NewTicker(foregroundPoll)
	ticker.Stop()
	ticking := false
	status, known := syscall.WaitStatus(0), false
	for !p.job.ended {
		if need := p.keys != nil && p.job.want && !p.job.owned && !p.job.suspended; need != ticking {
			ticking = need
			if need {
				ticker.Reset(foregroundPoll)
			} else {
				ticker.Stop()
			}
		}
		events := p.monitor.events
		if p.job.suspended {
			// What happens between asking to be stopped and being stopped is
			// looked at afterwards, when the shell may have changed everything.
			events = nil
		}
		select {
		case sig := <-p.signals:
			p.onSignal(sig)
		case ask := <-p.requests:
			ask()
		case <-ticker.C:
			p.reassess()
		case f, ok := <-events:
			switch {
			case !ok:
				// Somebody killed the monitor, so nobody waits for COMMAND any
				// more. The kernel hangs up only what is in front.
				_ = syscall.Kill(-p.pid, syscall.SIGHUP)
				_ = syscall.Kill(-p.pid, syscall.SIGCONT)
				p.job.ended = true
			case f.Op == monitor.Stopped && int(f.B) < p.job.continued:
				// It stopped before the monitor obeyed, and goes on by now.
			case f.Op == monitor.Stopped:
				p.onStopped(syscall.Signal(f.A))
			case f.Op == monitor.Continued:
				p.onContinued()
			case f.Op == monitor.Exited:
				status, known = syscall.WaitStatus(f.A), true
				p.exit.CPU = time.Duration(f.B) * time.Millisecond
				p.job.ended = true
			}
		}
	}
	ticker.Stop()
	p.finish(status, known)
	close(p.done)
	p.idle()
	<-p.alone
}

// idle keeps the signals from ending the process until Close.
func (p *Process) idle() {
	for {
		select {
		case sig := <-p.signals:
			p.onLate(sig)
		case <-p.shut:
			signalStop(p.signals)
			return
		}
	}
}

// request has the conductor do f; nothing happens once COMMAND has ended.
func (p *Process) request(f func()) {
	select {
	case p.requests <- f:
	case <-p.done:
	}
}

// later has the conductor do f after d.
func (p *Process) later(d time.Duration, f func()) {
	time.AfterFunc(d, func() { p.request(f) })
}

func (p *Process) signal(target int, sig syscall.Signal) {
	p.monitor.send(monitor.Signal, target, int(sig))
}

// interrupted notes that the run was, and tells the caller the first time.
func (p *Process) interrupted(sig os.Signal) {
	p.reached.Store(true)
	p.interrupt.Do(func() {
		if p.command.OnInterrupt != nil {
			p.callback.Add(1)
			p.spawn(func() {
				defer p.callback.Done()
				p.command.OnInterrupt(sig)
			})
		}
	})
}

func (p *Process) onSignal(sig os.Signal) {
	switch sig {
	case syscall.SIGINT:
		p.signal(monitor.ToForeground, syscall.SIGINT)
		p.interrupted(sig)
	case syscall.SIGQUIT:
		p.signal(monitor.ToForeground, syscall.SIGQUIT)
	case syscall.SIGTERM:
		p.job.terms++
		if p.job.terms > 1 {
			p.signal(monitor.ToBoth, syscall.SIGKILL)
		} else {
			p.signal(monitor.ToBoth, syscall.SIGTERM)
		}
		p.interrupted(sig)
	case syscall.SIGHUP:
		p.job.hungUp = true
		p.signal(monitor.ToBoth, syscall.SIGHUP)
		p.interrupted(sig)
	case syscall.SIGUSR1, syscall.SIGUSR2:
		p.signal(monitor.ToChild, sig.(syscall.Signal))
	case syscall.SIGWINCH:
		p.resize()
	case syscall.SIGTSTP:
		if p.job.swallow > 0 {
			p.job.swallow--
			return
		}
		// The key was pressed while the terminal was not raw, or somebody asked.
		// When COMMAND stops, so does obsrun.
		p.signal(monitor.ToForeground, syscall.SIGTSTP)
	case syscall.SIGCONT:
		p.reassess()
	}
}

// onLate handles a signal that arrives when COMMAND has ended.
func (p *Process) onLate(sig os.Signal) {
	switch sig {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
		select {
		case p.late <- sig:
		default:
		}
	case syscall.SIGTSTP:
		// Catching it has switched off the default.
		if jobControlled() {
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		}
	}
}

// onStopped decides what a stop of COMMAND means: it asks for the terminal, or the
// job is suspended.
func (p *Process) onStopped(sig syscall.Signal) {
	p.job.stopped = true
	front := p.keys == nil || p.keys.foreground()
	if sig == syscall.SIGTTIN || sig == syscall.SIGTTOU {
		p.job.want = true
		if front {
			p.take()
			p.forward()
			return
		}
		if !jobControlled() {
			// Nobody will bring obsrun to the front with a signal. Under a
			// pseudo-terminal COMMAND may go on and wait for keys there;
			// without one it stays stopped until the poll sees a change.
			if p.typist != nil {
				p.forward()
			}
			return
		}
	} else if !jobControlled() {
		p.resume()
		return
	}
	p.quiesce()
	if len(p.monitor.events) > 0 {
		return // it has gone on or ended meanwhile
	}
	if front != (p.keys == nil || p.keys.foreground()) {
		p.onStopped(sig) // the shell was faster
		return
	}
	p.yield()
	p.job.suspended = true
	if sig != syscall.SIGSTOP {
		// As from the keyboard: the whole job. Obsrun catches it.
		if !p.ignored[syscall.SIGTSTP] {
			p.job.swallow++
		}
		_ = syscall.Kill(0, syscall.SIGTSTP)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	// CONT, when it comes, leads to reassess.
}

// quiesce waits a moment for what COMMAND wrote before it stopped, the end of its full
// screen for instance: it belongs in front of the shell's prompt.
func (p *Process) quiesce() {
	const pause, limit = time.Millisecond, 200 * time.Millisecond
	for begun := p.since(); p.since()-begun < limit; time.Sleep(pause) {
		calm := true
		for _, s := range p.layout.screens {
			calm = calm && s.calm()
		}
		if calm {
			return
		}
	}
}

// onContinued gives the terminal back that the monitor took when COMMAND stopped, if
// somebody else continued COMMAND.
func (p *Process) onContinued() {
	if p.job.stopped && p.job.owned {
		p.forward()
	}
	p.job.stopped = false
}

// resume continues COMMAND where it was.
func (p *Process) resume() {
	if p.job.owned {
		p.forward()
	} else {
		p.backward()
	}
}

// forward continues COMMAND in the foreground of its terminal.
func (p *Process) forward() {
	p.job.stopped = false
	p.job.continued++
	p.monitor.send(monitor.Foreground, p.job.continued, 0)
}

// backward continues COMMAND in the background of its terminal.
func (p *Process) backward() {
	p.job.stopped = false
	p.job.continued++
	p.monitor.send(monitor.Background, p.job.continued, 0)
}

// reassess brings the job in line with whether obsrun is in the foreground. It is
// called when that may have changed.
func (p *Process) reassess() {
	wasSuspended, wasOwned := p.job.suspended, p.job.owned
	p.job.suspended = false
	if p.keys != nil && p.keys.gone() {
		p.typist.stop()
		p.terminalGone()
		if wasSuspended {
			p.forward()
		}
		return
	}
	if p.typist == nil && wasOwned && !wasSuspended {
		// COMMAND itself is in front, so obsrun is not, and should not be. If it
		// is, a shell has just put it there in COMMAND's stead.
		if p.keys != nil && p.keys.foreground() {
			p.forward()
		}
		return
	}
	if p.job.want && (p.keys == nil || p.keys.foreground()) {
		p.take()
		if wasSuspended || !wasOwned {
			p.forward()
		}
		return
	}
	p.yield()
	if wasSuspended || wasOwned {
		p.backward()
	}
}

// take lets keys flow. Obsrun is in the foreground.
func (p *Process) take() {
	if p.typist != nil && !p.keys.isRaw() {
		p.layout.adopt(p.keys)
	}
	p.hold()
}

// hold is take where COMMAND's terminal has its mode by now.
func (p *Process) hold() {
	p.resize()
	if p.typist != nil && p.keys.makeRaw() == nil {
		_ = p.typist.start()
	}
	p.job.owned = true
}

// yield puts the terminal in order and stops taking keys.
func (p *Process) yield() {
	p.typist.stop()
	p.keys.restore()
	p.job.owned = false
}

// resize passes a new size of the user's terminal on. The kernel tells COMMAND, but only
// if it is in front.
func (p *Process) resize() {
	if !p.layout.readSize() {
		return
	}
	for i := len(p.layout.screens) - 1; i >= 0; i-- {
		_ = p.layout.screens[i].resize(&p.layout.size)
	}
	if len(p.layout.screens) > 0 {
		p.command.Cast.resize(p.layout.size.Col, p.layout.size.Row)
		if p.keys != nil && !p.job.owned && p.monitor != nil {
			p.signal(monitor.ToGroup, syscall.SIGWINCH)
		}
	}
}

// terminalGone is what the kernel does to the processes of a terminal that closes.
func (p *Process) terminalGone() {
	if !p.job.gone {
		p.job.gone, p.job.want = true, false
		p.endInput()
	}
	if p.ignored[syscall.SIGHUP] || p.job.hungUp {
		return
	}
	p.job.hungUp = true
	p.signal(monitor.ToBoth, syscall.SIGHUP)
	p.signal(monitor.ToBoth, syscall.SIGCONT)
	p.interrupted(syscall.SIGHUP)
}

// endInput lets a COMMAND that goes on without its user read end of file, again and
// again, where the kernel would have given it an error.
func (p *Process) endInput() {
	if len(p.layout.screens) == 0 {
		return
	}
	master := p.layout.screens[0].master
	mode := terminalMode(master)
	if mode != nil && mode.Lflag&unix.ICANON != 0 && mode.Cc[unix.VEOF] != disabledChar {
		_, _ = unix.Write(master, mode.Cc[unix.VEOF:unix.VEOF+1])
	}
	p.later(foregroundPoll, p.endInput)
}

// stdoutBroke lets COMMAND know what it would have noticed itself.
func (p *Process) stdoutBroke(err error) {
	p.broken = err
	if err == syscall.EIO && p.layout.outTTY {
		p.terminalGone()
		return
	}
	p.job.ours = true
	p.signal(monitor.ToGroup, syscall.SIGPIPE)
	p.later(pipeGrace, func() { p.signal(monitor.ToGroup, syscall.SIGHUP) })
}
