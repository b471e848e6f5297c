package receiver

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/obsrun/obsrun/instrument/journal"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// adapter turns the lines of one log into events. It is a pure function of the
// lines it was given: it knows neither files nor a clock.
type adapter struct {
	// line takes the next line. An error says that it can not be read.
	line func(line []byte, emit func(telemetry.Event)) error
	// end is called when no line will follow.
	end func(emit func(telemetry.Event))
}

// format is one way in which a log can be written. Logs of the same name are
// told apart by their lines.
type format struct {
	// claims tells whether a line is of this format and no other.
	claims func(line []byte) bool
	adapt  func() adapter
}

// Tail follows logs that orchestrators write, as they grow.
type Tail struct {
	record  func(telemetry.Event) error
	paths   []string
	formats []format

	files []*logFile // those that were ever found, read to their end
	stop  context.CancelFunc
	done  chan struct{}
}

// maxLogFiles bounds how many files are kept open: the oldest of those that no
// path leads to any more is given up beyond it.
const maxLogFiles = 8

// follow begins to follow the logs at the paths, which need not exist yet. A
// file that two paths lead to is read once. What stands in a file by now is of
// an earlier run and left out; a file that appears or is replaced later is read
// from its beginning.
func follow(record func(telemetry.Event) error, formats []format, paths []string) *Tail {
	ctx, stop := context.WithCancel(context.Background())
	t := &Tail{record: record, paths: paths, formats: formats, stop: stop, done: make(chan struct{})}
	t.find((*logFile).skip)
	wake := make(chan struct{}, 1)
	var watches sync.WaitGroup
	for _, path := range paths {
		changed := journal.Watch(ctx, path)
		watches.Go(func() {
			for range changed {
				select {
				case wake <- struct{}{}:
				default:
				}
			}
		})
	}
	go func() {
		defer close(t.done)
		defer watches.Wait()
		for {
			select {
			case <-ctx.Done():
				return
			case <-wake:
				t.look(ctx)
			}
		}
	}()
	return t
}

// look reads what is new in every file.
func (t *Tail) look(ctx context.Context) {
	t.find(nil)
	for _, f := range t.files {
		f.read(ctx)
	}
}

// find opens the files that the paths lead to by now, unless they are open; with
// each new one it calls found.
func (t *Tail) find(found func(*logFile)) {
	at := make(map[*logFile]bool)
	for _, path := range t.paths {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		f := t.known(info)
		if f == nil {
			if f, err = openLog(path, t.formats, t.record); err != nil {
				continue // gone again, or not readable yet
			}
			if same := t.known(f.info); same != nil {
				f.file.Close()
				f = same
			} else {
				t.files = append(t.files, f)
				if found != nil {
					found(f)
				}
			}
		}
		at[f] = true
	}
	for i, f := range t.files {
		if len(t.files) > maxLogFiles && !at[f] {
			f.read(context.Background())
			f.close()
			t.files = append(t.files[:i:i], t.files[i+1:]...)
			break
		}
	}
}

func (t *Tail) known(info os.FileInfo) *logFile {
	for _, f := range t.files {
		if os.SameFile(f.info, info) {
			return f
		}
	}
	return nil
}

// Close reads every log a last time to its end, when the orchestrator is gone,
// and closes what it left open there. ctx bounds the reading.
func (t *Tail) Close(ctx context.Context) error {
	t.stop()
	<-t.done
	t.look(ctx)
	for _, f := range t.files {
		f.close()
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read the logs of the orchestrator to their end: %w", err)
	}
	return nil
}
