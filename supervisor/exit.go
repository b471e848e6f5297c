package supervisor

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	drainSilence = 300 * time.Millisecond // no output for this long: nothing more will come
	drainLimit   = 2 * time.Second        // the most that a background process can delay the end
	drainTick    = 20 * time.Millisecond
	drainBytes   = 256 << 10              // more than a pseudo-terminal holds, so later bytes are not COMMAND's
	youngFor     = 100 * time.Millisecond // a run in which the numbers of processes do not begin anew
	hangupGrace  = 200 * time.Millisecond // for what was hung up to end
)

// ErrMonitorKilled says that the monitor died under the run, so that COMMAND's exit status
// is not known.
var ErrMonitorKilled = errors.New("obsrun's monitor process was killed; the command was hung up and its exit status is not known")

// Exit is how COMMAND ended.
type Exit struct {
	// Code is COMMAND's exit status, 128+N if signal N ended it, 125 if Err is
	// ErrMonitorKilled.
	Code int
	// Signal ended COMMAND; 0 if it exited.
	Signal syscall.Signal
	// CoreDumped says that Signal left a core file.
	CoreDumped bool
	// Interrupted says that an INT, TERM or HUP reached the run, also by key. The
	// signals that this package sends of its own accord do not count.
	Interrupted bool
	// Survivors are still running in COMMAND's session although they were hung up. With
	// NoPTY they are what is left of its process group, and were not signalled.
	Survivors []Survivor
	// Stdout is why not everything could be written to obsrun's stdout (EPIPE when its
	// reader went away); nil if all was.
	Stdout error
	// Ended is when COMMAND ended: before what it wrote was delivered.
	Ended time.Time
	// CPU is the CPU time, user and system, of COMMAND and of those of its descendants
	// that were waited for. 0 where COMMAND's exit status is not known.
	CPU time.Duration
	// Err is a failure of the supervision itself.
	Err error

	status syscall.WaitStatus
}

// finish delivers what COMMAND wrote, hangs up what it left, and restores the terminal.
func (p *Process) finish(status syscall.WaitStatus, known bool) {
	p.exit.Ended, p.exit.status = time.Now(), status
	p.typist.stop()
	p.sweep()
	for _, s := range p.layout.screens {
		s.closeSlave()
	}
	delivered := make(chan struct{})
	go func() {
		for _, s := range p.layout.screens {
			<-s.ended
		}
		close(delivered)
	}()
	abandoned := p.drain(delivered)
	p.exit.Survivors = p.hangUp()
	for _, s := range p.layout.screens {
		s.stop()
	}
	if !abandoned {
		abandoned = !p.settle(delivered)
	}
	p.command.Cast.close()
	p.keys.restore()
	p.spawn(func() { // it takes a while to go, in which nobody has to wait for it
		defer close(p.alone)
		p.monitor.close()
		if !abandoned {
			p.layout.close()
		}
	})
	for _, f := range p.nulls {
		f.Close()
	}
	if p.keys != nil && !abandoned {
		p.keys.close()
	}

	p.sweep()
	p.callback.Wait()
	p.exit.Interrupted = p.reached.Load()
	p.exit.Stdout = p.broken
	switch {
	case !known:
		p.exit.Code, p.exit.Err = statusFault, ErrMonitorKilled
	case status.Signaled():
		p.exit.Signal, p.exit.CoreDumped = status.Signal(), status.CoreDump()
		p.exit.Code = 128 + int(status.Signal())
		switch status.Signal() {
		case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP:
			p.exit.Interrupted = p.exit.Interrupted || !p.job.ours
		}
	default:
		p.exit.Code = status.ExitStatus()
	}
}

// drain waits until all output is delivered, as far as it is COMMAND's, and reports
// whether a signal cut that short.
//
// Neither end alone would do. Waiting for the end of file hangs for as long as some
// background process keeps the terminal open; stopping at once loses what COMMAND wrote
// last. A reader of obsrun's stdout that is slow is no reason to stop: the time in
// which output cannot be written does not count.
func (p *Process) drain(delivered <-chan struct{}) (abandoned bool) {
	type mark struct{ empties, bytes int64 }
	marks := make([]mark, len(p.layout.screens))
	for i, s := range p.layout.screens {
		marks[i] = mark{s.empties.Load(), s.bytes.Load()}
	}
	begun := p.since()
	ticker := time.NewTicker(drainTick)
	defer ticker.Stop()
	for {
		select {
		case <-delivered:
			return false
		case sig := <-p.signals:
			p.onEnding(sig)
			switch sig {
			case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
				if p.blocked() {
					return true
				}
			}
		case ask := <-p.requests:
			ask() // the monitor sends nothing any more
		case <-ticker.C:
			now := p.since()
			over := true
			for i, s := range p.layout.screens {
				select {
				case <-s.ended:
					continue
				default:
				}
				calm := s.calm()
				idle := time.Duration(s.idle.Load())
				silent := calm && idle > 0 && now-max(idle, begun) >= drainSilence
				// Found empty after COMMAND's end, or more was read than can
				// have been waiting then: the rest is somebody else's.
				complete := calm || s.empties.Load() > marks[i].empties || s.bytes.Load()-marks[i].bytes > drainBytes
				if !silent && !(complete && now-begun >= drainLimit) {
					over = false
				}
			}
			if over {
				return false
			}
		}
	}
}

// onEnding handles a signal that arrives while the end is under way: too late for COMMAND,
// but the run is not over. Who signals both at once must not find it uninterrupted
// because COMMAND was quick.
func (p *Process) onEnding(sig os.Signal) {
	switch sig {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP:
		p.interrupted(sig)
	}
	p.onLate(sig)
}

// sweep handles the signals that nobody has looked at yet.
func (p *Process) sweep() {
	for {
		select {
		case sig := <-p.signals:
			p.onEnding(sig)
		default:
			return
		}
	}
}

// blocked reports whether output waits for somebody to read it.
func (p *Process) blocked() bool {
	for _, s := range p.layout.screens {
		select {
		case <-s.ended:
		default:
			if s.idle.Load() == 0 {
				return true
			}
		}
	}
	return false
}

// settle waits for the copying to end after stop, and reports whether it did. It does
// not if a write blocks, which only a signal ends.
func (p *Process) settle(delivered <-chan struct{}) bool {
	for {
		select {
		case <-delivered:
			return true
		case ask := <-p.requests:
			ask()
		case sig := <-p.signals:
			p.onEnding(sig)
			switch sig {
			case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
				if p.blocked() {
					return false
				}
			}
		}
	}
}

// hangUp tells what COMMAND left in its session that the terminal is gone, as closing
// it would, and returns what does not end. Without a pseudo-terminal the session is the
// user's, and what was left there goes on as it would without obsrun.
func (p *Process) hangUp() []Survivor {
	if len(p.layout.screens) == 0 {
		return groupMembers(p.pid)
	}
	young := p.since() < youngFor
	left := sessionMembers(p.monitor.pid, young)
	for _, s := range left {
		_ = syscall.Kill(s.PID, syscall.SIGHUP)
		_ = syscall.Kill(s.PID, syscall.SIGCONT)
	}
	for wait := time.Millisecond; len(left) > 0 && wait < hangupGrace; wait *= 2 {
		time.Sleep(wait)
		left = sessionMembers(p.monitor.pid, young)
	}
	return left
}

func signalStop(c chan<- os.Signal) { signal.Stop(c) }
