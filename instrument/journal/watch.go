package journal

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pollEvery is how often a watched file is looked at where the system says
// nothing: on network file systems, when its watches are used up, when a
// directory of the path is missing or a symbolic link in it was replaced.
const pollEvery = 500 * time.Millisecond

// A watch of the system's takes the kernel some ten milliseconds to undo, which a short
// run would wait for at its end. So at first the file is looked at often instead.
const (
	youngFor  = 300 * time.Millisecond
	pollYoung = 50 * time.Millisecond
)

// Watch sends whenever the file at path may have changed: written, truncated,
// created, removed or replaced, also when a directory of the path is a symbolic
// link or does not exist yet. Changes that nobody waited for are told once. The
// first wake-up comes at once, so that nothing is missed that happened before
// the watch stood. The channel is closed when ctx is done.
func Watch(ctx context.Context, path string) <-chan struct{} {
	ticker := time.NewTicker(pollYoung)
	young := time.NewTimer(youngFor)
	w := &watch{path: path, poll: ticker.C, grown: young.C, wake: make(chan struct{}, 1), again: func() {}}
	w.settle = func() {
		// Many things are looked at by the clock. Those that are at the same time wake
		// a quiet program once.
		w.again = func() { ticker.Reset(pollEvery - time.Duration(time.Now().UnixNano())%pollEvery) }
		w.again()
		if notify, err := fsnotify.NewWatcher(); err == nil {
			w.notify = notify
		}
	}
	go func() {
		w.follow(ctx)
		ticker.Stop()
		young.Stop()
		close(w.wake)
		if w.notify != nil {
			w.notify.Close() // nobody waits for the kernel
		}
	}()
	return w.wake
}

type watch struct {
	path string
	poll <-chan time.Time
	// again is called after each poll: it says when the next one is.
	again func()
	wake  chan struct{}
	// grown says when settle is to be called, which asks the system for a watch.
	grown  <-chan time.Time
	settle func()
	// notify is nil before that, and where the system has no watches left.
	notify *fsnotify.Watcher

	seen os.FileInfo // the file when last looked at, nil where there was none
	// watched is the path without symbolic links that notify watches: the file,
	// or its directory while it is missing.
	watched     string
	watchedInfo os.FileInfo
	// others counts what was written to other files of the directory. Beyond busy of
	// them the poll has to do until the file is there: each is a wake-up for nothing,
	// and the directory of a run has the journal.
	others int
}

const busy = 64

func (w *watch) follow(ctx context.Context) {
	var events <-chan fsnotify.Event
	var errs <-chan error
	w.look()
	w.send()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.grown:
			w.settle()
			if w.notify != nil {
				events, errs = w.notify.Events, w.notify.Errors
			}
			if w.look() {
				w.send()
			}
		case <-w.poll:
			if w.look() {
				w.send()
			}
			w.again()
		case event, open := <-events:
			switch {
			case !open:
				events = nil
			case event.Op == fsnotify.Write && event.Name == w.watched:
				w.send()
			case filepath.Base(event.Name) == filepath.Base(w.path) || event.Name == w.watched:
				w.look()
				w.send()
			case event.Op == fsnotify.Write:
				if w.others++; w.others == busy {
					_ = w.notify.Remove(w.watched)
					w.watched, w.watchedInfo = "", nil
				}
			}
		case _, open := <-errs:
			if !open {
				errs = nil
				continue
			}
			w.look() // events were lost, it does not matter which
			w.send()
		}
	}
}

func (w *watch) send() {
	select {
	case w.wake <- struct{}{}:
	default: // the one that lies there says the same
	}
}

// look takes note of the file as it is, sees to it that the right thing is
// watched, and says whether anything changed.
func (w *watch) look() bool {
	changed := w.rewatch()
	info, err := os.Stat(w.path)
	if err != nil {
		info = nil
	}
	before := w.seen
	w.seen = info
	switch {
	case before == nil || info == nil:
		return changed || before != info
	case !os.SameFile(before, info), before.Size() != info.Size(), !before.ModTime().Equal(info.ModTime()):
		return true
	}
	return changed
}

// rewatch points notify at the file, or at its directory while it is missing.
// It says whether it had to move: what happened in between was not told.
func (w *watch) rewatch() bool {
	if w.notify == nil || w.stands() {
		return false
	}
	target, info := resolve(w.path)
	if target == "" && w.others < busy {
		target, info = resolve(filepath.Dir(w.path))
	}
	if target == w.watched && (target == "" || os.SameFile(info, w.watchedInfo)) {
		return false
	}
	if w.watched != "" {
		_ = w.notify.Remove(w.watched) // gone already, if the file is
	}
	w.watched, w.watchedInfo = "", nil
	if target == "" || w.notify.Add(target) != nil {
		return false // the poll goes on
	}
	w.watched, w.watchedInfo = target, info
	return true
}

// stands tells whether what is watched is still what should be. It is asked at each
// poll, so it spares the walk along the path.
func (w *watch) stands() bool {
	if w.watchedInfo == nil {
		return false
	}
	info, err := os.Stat(w.path)
	if err != nil {
		info, err = os.Stat(filepath.Dir(w.path))
	}
	return err == nil && os.SameFile(info, w.watchedInfo)
}

func resolve(path string) (string, os.FileInfo) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", nil
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", nil
	}
	return real, info
}
