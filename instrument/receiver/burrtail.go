package receiver

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// BurrTail follows the logs of Burr's local tracker, HOME/.burr/PROJECT/APP/log.jsonl.
//
// Everything that is written below the directory counts, by whomever: the logs do
// not say which process wrote them. Two runs of one pipeline at the same time
// write into the same logs, and can not be told apart.
//
// Nothing is watched, all is polled: app directories pile up by the thousand, and
// watching one costs a descriptor on some systems and a scarce kernel object on
// others. Every 250 ms, a second while there is no tracker, the tracker's directory, the project directories and the
// apps that were heard of in this run are looked at, and of all others a fixed
// number in turn, so that the cost does not grow with their number. A known
// pipeline names the apps that it is about to run, and these are looked at too.
type BurrTail struct {
	record func(telemetry.Event) error
	zone   *time.Location
	root   string // HOME/.burr

	run   *burrRun
	known map[string]*burrDir // by path below root
	hot   []*burrDir          // looked at every time
	cold  []*burrDir          // looked at in turn
	turn  int                 // the next of cold
	found bool                // a pipeline's log was found in this look
	// expected are those that a pipeline just said it is about to run.
	expected []*burrDir

	stop  context.CancelFunc // ends the looks
	abort context.CancelFunc // ends the one that is under way
	done  chan struct{}
}

const (
	burrPoll = 250 * time.Millisecond
	burrIdle = time.Second
	// coldLooks is how many of the directories in which nobody was heard of are
	// looked at each time: 1,000 of them are seen within 8 s.
	coldLooks = 32
	// hotLooks is after how many looks without news a directory is cold again.
	hotLooks = 240
)

// FollowBurr begins to follow the applications that Burr tracks below home, the
// user's home directory; its directory need not exist yet. zone is the local time
// of the host, in which most of the logs' timestamps are. It is to be called
// before the orchestrator starts: what stands in a log by then is left out, also
// where the same application is continued.
func FollowBurr(record func(telemetry.Event) error, zone *time.Location, home string) *BurrTail {
	t := newBurrTail(record, zone, home)
	ctx, stop := context.WithCancel(context.Background())
	reading, abort := context.WithCancel(context.Background())
	t.stop, t.abort, t.done = stop, abort, make(chan struct{})
	go func() {
		defer close(t.done)
		timer := time.NewTimer(t.pause(time.Now()))
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
				t.look(reading, coldLooks)
			}
			timer.Reset(t.pause(time.Now()))
		}
	}()
	return t
}

// pause is how long it is from now to the next look: that is on the quarter of a
// second, or on the second, as others look at what is theirs then.
func (t *BurrTail) pause(now time.Time) time.Duration {
	period := burrPoll
	if len(t.known) == 1 {
		period = burrIdle // there is nothing below the directory, if it is there
	}
	return period - time.Duration(now.UnixNano())%period
}

// newBurrTail gives a tail that looks when it is told to.
func newBurrTail(record func(telemetry.Event) error, zone *time.Location, home string) *BurrTail {
	t := &BurrTail{
		record: record, zone: zone, root: filepath.Join(home, ".burr"), known: make(map[string]*burrDir),
		stop: func() {}, abort: func() {}, done: make(chan struct{}),
	}
	close(t.done)
	t.run = &burrRun{
		agents: make(map[string]*burrAgent), queued: make(map[string]bool), expect: t.expect,
		emit: func(ev telemetry.Event) { _ = t.record(ev) },
	}
	t.add("", 0, false)
	t.scan(0, false)
	return t
}

// Close reads every log a last time to its end, when the orchestrator is gone,
// and closes what it left open there. ctx bounds the reading.
func (t *BurrTail) Close(ctx context.Context) error {
	t.stop()
	defer t.abort()
	defer context.AfterFunc(ctx, t.abort)()
	<-t.done
	t.look(ctx, len(t.cold))
	for _, d := range slices.Concat(t.hot, t.cold) {
		if d.log != nil && d.log.app != nil {
			d.log.app.end()
		}
		if d.log != nil && d.log.file != nil {
			d.log.file.finish()
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read the logs of Burr to their end: %w", err)
	}
	return nil
}

// look reads what is new, and as many cold directories.
//
// A pipeline writes that a component is done after its agent wrote its end. So
// how far the pipelines are read is settled first, then the rest is looked at:
// what a pipeline refers to was found. Then all lines are taken in the order of
// their times.
func (t *BurrTail) look(ctx context.Context, cold int) {
	var grown []*burrLog
	for t.found = true; t.found; cold = 0 { // a pipeline that is found begins this anew
		t.found = false
		grown = append(grown, t.grown(true)...)
		t.scan(cold, true)
	}
	t.read(ctx, append(grown, t.grown(false)...))
	t.cool()
}

// grown gives the logs, of pipelines or of all others, that can be read further.
func (t *BurrTail) grown(pipelines bool) (logs []*burrLog) {
	for _, d := range t.hot {
		if d.log != nil && d.log.pipeline == pipelines && d.log.grow(t) {
			d.quiet = 0
			logs = append(logs, d.log)
		}
	}
	return logs
}

// read takes the lines of the logs in the order of their times.
func (t *BurrTail) read(ctx context.Context, logs []*burrLog) {
	slices.SortFunc(logs, func(a, b *burrLog) int { return cmp.Compare(a.rel, b.rel) })
	for _, l := range logs {
		l.advance()
	}
	for n := 1; ; n++ {
		var first *burrLog
		for _, l := range logs {
			if l.head != nil && (first == nil || l.head.at.Before(first.head.at)) {
				first = l
			}
		}
		if first == nil || n%100 == 0 && ctx.Err() != nil {
			break
		}
		first.app.line(first.head)
		first.advance()
		for _, d := range t.expected { // the pipeline's next lines can be of their end
			if d.log != nil && d.log.grow(t) {
				d.log.advance()
				logs = append(logs, d.log)
			}
		}
		t.expected = nil
	}
	for _, l := range logs {
		l.head = nil
		l.file.pause()
	}
}

// burrLog is one log.
type burrLog struct {
	rel, path string
	pipeline  bool
	size      int64 // what stood in it when it was found, and is left out
	info      os.FileInfo
	file      *logFile // nil until something was written
	restarts  int
	clock     localClock
	app       *burrApp
	head      *burrLine
}

// grow looks whether the log can be read further, and opens it if so.
func (l *burrLog) grow(t *BurrTail) bool {
	info, err := os.Stat(l.path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if l.info != nil && sameContent(l.info, info) {
		return false
	}
	same := l.info != nil && os.SameFile(l.info, info)
	switch {
	case l.file == nil:
		if l.file, err = openLog(l.path, nil, t.record); err != nil {
			l.file = nil
			return false
		}
		if same && info.Size() >= l.size {
			l.file.skipTo(l.size)
		}
	case !same: // replaced
		l.file.finish()
		if l.file, err = openLog(l.path, nil, t.record); err != nil {
			l.file, l.info, l.app = nil, nil, nil
			return false
		}
		l.app = nil
	default:
		if err := l.file.resume(); err != nil {
			return false
		}
	}
	l.info = info
	if !l.file.grow() {
		l.file.pause()
		return false
	}
	if l.app == nil || l.restarts != l.file.restarts {
		l.restarts = l.file.restarts
		l.clock = localClock{zone: t.zone}
		project, id := projectOf(l.rel)
		l.app = newBurrApp(t.run, project, id, func(name string) []byte { return readSmall(filepath.Join(filepath.Dir(l.path), name)) })
	}
	return true
}

// advance decodes the next line.
func (l *burrLog) advance() {
	l.head = nil
	for {
		raw, ok := l.file.next()
		if !ok {
			return
		}
		line, err := decodeBurrLine(raw, &l.clock)
		if err == nil {
			l.head = line
			return
		}
		l.file.unread(err)
	}
}

// readSmall reads one of the files beside a log, nothing where it is missing or
// too large to be what it should.
func readSmall(path string) []byte {
	const most = 8 << 20
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() > most {
		return nil
	}
	data, _ := os.ReadFile(path)
	return data
}
