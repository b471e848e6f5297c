package receiver

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// burrDir is a directory below that of the tracker: of a project, of an app, or of
// apps whose ids have a slash.
type burrDir struct {
	rel   string
	path  string
	depth int // 0: the tracker's own
	// listed is when it was changed last before it was read, settled that this was
	// long enough before for a later change to show.
	listed  time.Time
	settled bool
	log     *burrLog
	quiet   int // looks since something was heard of it, while it is hot
}

const (
	// maxBurrDepth bounds the search for logs: projects are at depth 1, apps at 2
	// or, with slashes in their ids, below.
	maxBurrDepth = 6
	// settleTime is longer than the grain of any file system's timestamps.
	settleTime = 3 * time.Second
)

// add takes note of a directory. running: the run has begun, and what is found is
// new.
func (t *BurrTail) add(rel string, depth int, running bool) {
	d := &burrDir{rel: rel, path: filepath.Join(t.root, filepath.FromSlash(rel)), depth: depth}
	t.known[rel] = d
	if running || depth < 2 {
		t.warm(d)
	} else {
		t.cold = append(t.cold, d)
	}
}

func (t *BurrTail) warm(d *burrDir) {
	d.quiet = 0
	t.hot = append(t.hot, d)
}

// expect looks from now on at an app of which a pipeline says that it is about to
// run: it can be one of an earlier run, that is continued.
func (t *BurrTail) expect(appID string) {
	for _, project := range slices.Clone(t.hot) {
		if project.depth != 1 {
			continue
		}
		d := t.known[project.rel+"/"+appID]
		if i := slices.Index(t.cold, d); i >= 0 {
			t.cold = slices.Delete(t.cold, i, i+1)
			t.warm(d)
			t.expected = append(t.expected, d)
		}
	}
}

// scan looks for new directories and logs, in those that are hot and in as many of
// the cold ones. A cold one where something changed is hot from now on.
func (t *BurrTail) scan(cold int, running bool) {
	for i := 0; i < len(t.hot); i++ { // grows meanwhile
		t.list(t.hot[i], running)
	}
	if !running {
		for i := 0; i < len(t.cold); i++ { // grows meanwhile
			t.list(t.cold[i], running)
		}
		return
	}
	for range min(cold, len(t.cold)) {
		t.turn %= len(t.cold)
		d := t.cold[t.turn]
		if t.list(d, running) || d.log != nil && d.log.changed() {
			t.cold = slices.Delete(t.cold, t.turn, t.turn+1)
			t.warm(d)
			t.found = t.found || d.log != nil && d.log.pipeline
			continue
		}
		t.turn++
	}
}

// cool makes the app directories cold in which nothing was heard for long.
func (t *BurrTail) cool() {
	t.hot = slices.DeleteFunc(t.hot, func(d *burrDir) bool {
		if d.depth < 2 {
			return false
		}
		if d.quiet++; d.quiet <= hotLooks {
			return false
		}
		t.cold = append(t.cold, d)
		return true
	})
}

// list reads the directory if it changed, and tells whether something new was
// found in it.
func (t *BurrTail) list(d *burrDir, running bool) (found bool) {
	info, err := os.Stat(d.path)
	if err != nil || !info.IsDir() {
		d.listed, d.settled = time.Time{}, false
		return false
	}
	if d.settled && info.ModTime().Equal(d.listed) {
		return false
	}
	d.listed, d.settled = info.ModTime(), time.Since(info.ModTime()) > settleTime
	entries, err := os.ReadDir(d.path)
	if err != nil {
		d.settled = true // not ours to read
	}
	for _, e := range entries {
		rel := e.Name()
		if d.rel != "" {
			rel = d.rel + "/" + e.Name()
		}
		switch {
		case e.Name() == "log.jsonl" && d.depth >= 2:
			if d.log == nil && e.Type().IsRegular() {
				d.log = t.log(d, filepath.Join(d.path, e.Name()), running)
				found = true
			}
		case e.IsDir() && d.depth < maxBurrDepth && t.known[rel] == nil:
			t.add(rel, d.depth+1, running)
			found = true
		}
	}
	if found {
		d.quiet = 0
	}
	return found
}

// log takes note of a log. One that stands there before the run begins is read
// from where it ends by now.
func (t *BurrTail) log(d *burrDir, path string, running bool) *burrLog {
	project, id := projectOf(d.rel)
	l := &burrLog{rel: d.rel, path: path, pipeline: strings.HasPrefix(project, pipelinePrefix) && !strings.HasPrefix(id, subagentPrefix)}
	if running {
		t.found = t.found || l.pipeline
	} else if info, err := os.Stat(path); err == nil {
		l.info, l.size = info, info.Size()
	}
	return l
}

// changed tells whether something was written to the log since it was read.
func (l *burrLog) changed() bool {
	info, err := os.Stat(l.path)
	if err != nil {
		return false
	}
	return l.info == nil || !sameContent(l.info, info)
}

func sameContent(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
