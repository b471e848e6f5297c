package serve

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// runFile is a file of the run directory that is served.
type runFile struct {
	name, contentType string
	// made says when the file comes to be, for who asks in vain.
	made string
}

var journalFile = runFile{"telemetry.jsonl", "application/x-ndjson; charset=utf-8", "It is made when the run starts."}

// files are those that are served, and no other, whatever the path.
var files = []runFile{
	journalFile,
	{"run_summary.json", "application/json; charset=utf-8", "It is written when the run ends."},
	{"terminal.cast", "application/x-asciicast; charset=utf-8", "The terminal is not recorded with --no-record, with --no-pty, or where CI is set."},
	{"tool_calls.jsonl", "application/x-ndjson; charset=utf-8", "Some orchestrators write one into the directory logs/latest; obsrun does not."},
}

// filesPath is where it is told which of the files there are: a page that asked
// for one that is not would leave an error in the browser's console.
const filesPath = "/files"

// listFiles tells the size in bytes of each file that is served, by name.
func (v *view) listFiles(w http.ResponseWriter, _ *http.Request) {
	defer v.audience.ask()()
	sizes := make(map[string]int64)
	for _, file := range files {
		opened, err := openRegular(v.dir, file.name)
		if err != nil {
			continue
		}
		if info, err := opened.Stat(); err == nil {
			sizes[file.name] = info.Size()
		}
		opened.Close()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(sizes)
}

// serveFile sends a file as it stands now, whole or the ranges asked for. It has
// no date: a growing file changes more often than the seconds of one tell.
func (v *view) serveFile(file runFile) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer v.audience.ask()()
		opened, err := openRegular(v.dir, file.name)
		if err != nil {
			refuseFile(w, file, err)
			return
		}
		defer opened.Close()
		w.Header().Set("Content-Type", file.contentType)
		http.ServeContent(w, r, "", time.Time{}, opened)
	}
}

func refuseFile(w http.ResponseWriter, file runFile, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		refuse(w, http.StatusNotFound, "This run has no "+file.name+". "+file.made)
		return
	}
	refuse(w, http.StatusNotFound, "The run's "+file.name+" is there, but is not served: it can not be read, or is no regular file.")
}

var errNotRegular = errors.New("it is no regular file")

// openRegular opens a file of the run directory. A symbolic link is not followed
// and a pipe not waited for: who can write there must not get other files served.
func openRegular(dir, name string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
