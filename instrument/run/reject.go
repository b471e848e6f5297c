package run

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	maxRejected     = 16 << 20 // of rejected.jsonl, in bytes
	maxRejectedLine = 4 << 10  // of each input
)

// rejectLog is rejected.jsonl: input that was no valid event, with the reason.
// The file is made with the first of them.
type rejectLog struct {
	path string

	mu    sync.Mutex
	file  *os.File
	bytes int
	count int64
	full  bool // the file is; what comes now is only counted
}

// rejection is a line of rejected.jsonl.
type rejection struct {
	TS     float64 `json:"ts"`
	Source string  `json:"source"`
	Reason string  `json:"reason"`
	Bytes  int     `json:"bytes"` // of what was taken in; a receiver may have cut it
	Input  string  `json:"input"`
}

// add gives the number of rejections so far. An error is given once.
func (l *rejectLog) add(now time.Time, source string, raw []byte, reason string) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if l.full {
		return l.count, nil
	}
	if l.file == nil {
		file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			l.full = true
			return l.count, fmt.Errorf("open rejected.jsonl: %w; rejected input is only counted", err)
		}
		l.file = file
	}
	line, err := json.Marshal(rejection{
		TS: seconds(now), Source: source, Reason: reason, Bytes: len(raw),
		Input: strings.ToValidUTF8(string(raw[:min(len(raw), maxRejectedLine)]), "\uFFFD"),
	})
	if err != nil {
		return l.count, nil
	}
	line = append(line, '\n')
	if l.bytes += len(line); l.bytes > maxRejected {
		l.full = true
		return l.count, nil
	}
	if _, err := l.file.Write(line); err != nil {
		l.full = true
		return l.count, fmt.Errorf("write rejected.jsonl: %w; rejected input is only counted", err)
	}
	return l.count, nil
}

func (l *rejectLog) total() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *rejectLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = true
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
