package receiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/obsrun/obsrun/instrument/journal"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// maxLogLine is the longest line of a log that is read: tools are given whole
// files as input, and trackers log that.
const maxLogLine = 64 << 20

// logFile is one file that is followed.
type logFile struct {
	path    string
	info    os.FileInfo
	file    *os.File
	record  func(telemetry.Event) error
	formats []format

	pos    int64  // how far it was read
	mark   []byte // the last bytes before pos, which tell whether it is still the same text
	size   int64  // of what may be read, while reading
	reader *journal.Reader
	adapt  *adapter // nil until a line told the format

	restarts   int  // how often it was begun again from its beginning
	unreadable int  // lines that no adapter could read
	failed     bool // a read failed, and it was told
}

// markSize is enough to tell one log from another by its lines' ids and times.
const markSize = 256

func openLog(path string, formats []format, record func(telemetry.Event) error) (*logFile, error) {
	// A fifo must not block, should one have taken the file's place.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	f := &logFile{path: path, info: info, file: file, record: record, formats: formats}
	f.reader = journal.NewReaderLimit(f, maxLogLine)
	return f, nil
}

// skip leaves out what stands in the file by now.
func (f *logFile) skip() { f.skipTo(f.info.Size()) }

// skipTo leaves out what stands before pos.
func (f *logFile) skipTo(pos int64) {
	f.pos = pos
	mark := make([]byte, min(markSize, f.pos))
	n, _ := f.file.ReadAt(mark, f.pos-int64(len(mark)))
	f.mark = mark[:n]
}

// Read gives the reader what is new, up to the size that the file had when it
// was looked at: one that never stops growing can not hold up the end.
func (f *logFile) Read(p []byte) (int, error) {
	if left := f.size - f.pos; left < int64(len(p)) {
		p = p[:max(0, left)]
	}
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := f.file.ReadAt(p, f.pos)
	f.pos += int64(n)
	f.mark = append(f.mark, p[max(0, n-markSize):n]...)
	f.mark = f.mark[max(0, len(f.mark)-markSize):]
	if n > 0 {
		err = nil
	}
	return n, err
}

// read takes the lines that are new.
func (f *logFile) read(ctx context.Context) {
	if !f.grow() {
		return
	}
	for n := 1; ; n++ {
		line, ok := f.next()
		if !ok {
			return
		}
		if err := f.line(line); err != nil {
			f.unread(err)
		}
		if n%1000 == 0 && ctx.Err() != nil {
			return
		}
	}
}

// grow looks how far the file can be read by now. False: it can not.
func (f *logFile) grow() bool {
	info, err := f.file.Stat()
	if err != nil {
		f.fault(err)
		return false
	}
	f.size = info.Size()
	if f.rewritten() {
		f.restart()
	}
	return true
}

// next gives the next line that stands in the file, as far as it had grown. The
// line is valid until the next call.
func (f *logFile) next() (line []byte, ok bool) {
	for {
		line, err := f.reader.Next()
		switch {
		case err == io.EOF:
			return nil, false
		case errors.Is(err, journal.ErrTooLong):
			f.unread(fmt.Errorf("longer than %d MiB", maxLogLine>>20))
		case err != nil:
			f.fault(err)
			return nil, false
		case len(bytes.TrimSpace(line)) > 0:
			return line, true
		}
	}
}

// rewritten tells whether the file was cut back, or emptied and written anew,
// since it was read.
func (f *logFile) rewritten() bool {
	if f.size < f.pos {
		return true
	}
	now := make([]byte, len(f.mark))
	n, _ := f.file.ReadAt(now, f.pos-int64(len(now)))
	return !bytes.Equal(now[:n], f.mark)
}

// restart reads the file from its beginning, as the new log it is.
func (f *logFile) restart() {
	f.end()
	f.restarts++
	f.adapt, f.pos, f.mark = nil, 0, nil
	f.reader = journal.NewReaderLimit(f, maxLogLine)
}

var (
	errUnknownFormat = errors.New("not of a format that is known")
	errTorn          = errors.New("its end was never written")
)

func (f *logFile) line(line []byte) error {
	if f.adapt == nil {
		for _, format := range f.formats {
			if format.claims(line) {
				a := format.adapt()
				f.adapt = &a
				return a.line(line, f.emit)
			}
		}
		return errUnknownFormat
	}
	return f.adapt.line(line, f.emit)
}

func (f *logFile) emit(ev telemetry.Event) { _ = f.record(ev) }

// unread counts a line that could not be read, and tells of the first.
func (f *logFile) unread(reason error) {
	f.unreadable++
	if f.unreadable == 1 {
		f.log("warn", fmt.Sprintf("%s: a line is left out, as any other like it will be: %v", f.path, reason))
	}
}

func (f *logFile) fault(err error) {
	if !f.failed {
		f.failed = true
		f.log("warn", fmt.Sprintf("read the orchestrator's log %s: %v", f.path, err))
	}
}

func (f *logFile) log(level, message string) {
	f.emit(telemetry.Event{Type: telemetry.Log, Level: level, Message: message, Source: telemetry.SourceObsrun})
}

// end closes what the log left open.
func (f *logFile) end() {
	if f.adapt != nil {
		f.adapt.end(f.emit)
	}
	if f.unreadable > 1 {
		f.log("info", fmt.Sprintf("%s: %d lines were left out", f.path, f.unreadable))
	}
	f.unreadable = 0
}

func (f *logFile) close() {
	f.finish()
	f.pause()
}

// finish ends the log: no line will follow.
func (f *logFile) finish() {
	if f.reader.Torn() > 0 {
		f.unread(errTorn)
	}
	f.end()
}

// pause gives the descriptor back until resume. What was read stays known.
func (f *logFile) pause() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
}

// resume opens the file again, which may only be done while it is the same one.
func (f *logFile) resume() error {
	again, err := openLog(f.path, nil, nil)
	if err != nil {
		return err
	}
	f.pause()
	f.file = again.file
	return nil
}
