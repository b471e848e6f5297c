package export

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/obsrun/obsrun/ui"
)

// inlinedFiles are the files of the run's directory that the dashboard shows more
// of, with the size in bytes above which one is left out: the page is read whole.
var inlinedFiles = map[string]int64{"terminal.cast": 16 << 20, "tool_calls.jsonl": 32 << 20}

// HTML writes the dashboard of the run as one document that works from disk: all
// views, and the replay, with the terminal where it was recorded.
func HTML(w io.Writer, r Run) error {
	state, err := json.Marshal(r.State.Since(0, 0))
	if err != nil {
		return fmt.Errorf("encode the state: %w", err)
	}
	var files []ui.File
	for _, name := range []string{"terminal.cast", "tool_calls.jsonl"} {
		if text := readBounded(filepath.Join(r.Dir, name), inlinedFiles[name]); text != nil {
			files = append(files, ui.File{Name: name, Text: text})
		}
	}
	further, err := answers(r)
	if err != nil {
		return err
	}
	html, err := ui.Snapshot(state, append(files, further...)...)
	if err != nil {
		return err
	}
	_, err = w.Write(html)
	return err
}

// answers are what a server of the run would say of its past.
func answers(r Run) ([]ui.File, error) {
	var last any
	if r.Last != nil {
		var err error
		if last, err = r.Last(); err != nil {
			return nil, err
		}
	}
	var files []ui.File
	for name, answer := range map[string]any{"samples": r.State.Samples(), "last": last} {
		text, err := json.Marshal(answer)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", name, err)
		}
		files = append(files, ui.File{Name: name, Text: text})
	}
	slices.SortFunc(files, func(a, b ui.File) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

// readBounded reads a regular file of at most that many bytes, nil where there is
// none. A link is not followed: who can write there must not get other files sent
// around.
func readBounded(path string, most int64) []byte {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > most {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(file, most))
	if err != nil {
		return nil
	}
	return text
}
