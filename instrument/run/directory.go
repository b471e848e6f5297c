package run

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The files of a run directory.
func JournalPath(dir string) string  { return filepath.Join(dir, "telemetry.jsonl") }
func SummaryPath(dir string) string  { return filepath.Join(dir, "run_summary.json") }
func ManifestPath(dir string) string { return filepath.Join(dir, "run.json") }
func CastPath(dir string) string     { return filepath.Join(dir, "terminal.cast") }
func RejectedPath(dir string) string { return filepath.Join(dir, "rejected.jsonl") }

// ErrNotRegular is the error of what stands where a file of a run belongs, and is a
// pipe, a socket, a device or a directory.
var ErrNotRegular = errors.New("it is no regular file")

// Open opens a file of a run to be read. Whoever can write into a run directory can
// put anything there: what is no regular file is not waited for, and refused with
// ErrNotRegular.
func Open(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.EOPNOTSUPP) { // a socket, on Linux and on macOS
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	} else if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// lockName is the file whose lock says that the run is live. The lock goes with
// the process that holds it, however that ends.
const lockName = ".lock"

// latestName is the link to the newest run.
const latestName = "latest"

// Directory is the directory of a run that is live here.
type Directory struct {
	Path  string // absolute
	RunID string
	// Notes say what was found and left, or moved, on the way: for a person.
	Notes []string
	lock  *os.File
}

// NewID makes a run id: name, UTC date, 6 hex digits.
func NewID(name string, now time.Time) string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return name + "-" + now.UTC().Format("20060102") + "-" + hex.EncodeToString(b[:])
}

// NameOf gives the name in a run id, and all of one that NewID did not make.
func NameOf(runID string) string {
	const date, random = "-20060102", "-abcdef"
	name := len(runID) - len(date) - len(random)
	if name < 1 {
		return runID
	}
	made := runID[name:]
	if made[0] != '-' || strings.Trim(made[1:len(date)], "0123456789") != "" ||
		made[len(date)] != '-' || strings.Trim(made[len(date)+1:], "0123456789abcdef") != "" {
		return runID
	}
	return runID[:name]
}

// Create makes the directory of a run below logDir, takes its lock, and lets
// `latest` point to it, unless a live run is there.
func Create(logDir, runID string, now time.Time) (*Directory, error) {
	logDir, err := filepath.Abs(logDir)
	if err != nil {
		return nil, fmt.Errorf("find log directory: %w", err)
	}
	if err := os.MkdirAll(logDir, 0o700); err != nil {
		return nil, fmt.Errorf("make log directory: %w; choose another with --log-dir", err)
	}
	d := &Directory{Path: filepath.Join(logDir, runID), RunID: runID}
	if err := os.Mkdir(d.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make run directory: %w; choose another with --log-dir", err)
	}
	if d.lock, err = lock(filepath.Join(d.Path, lockName), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("lock run directory: %w", err)
	}
	// Two runs that start at once take turns at the link.
	turn, err := lock(filepath.Join(logDir, lockName), syscall.LOCK_EX)
	if err != nil {
		d.Notes = append(d.Notes, fmt.Sprintf("%s is left alone: %v", filepath.Join(logDir, latestName), err))
		return d, nil
	}
	defer turn.Close()
	if err := d.link(filepath.Join(logDir, latestName), now); err != nil {
		d.Notes = append(d.Notes, err.Error())
	}
	return d, nil
}

// link lets latest point to the run.
func (d *Directory) link(latest string, now time.Time) error {
	switch info, err := os.Lstat(latest); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("look at %s: %w", latest, err)
	case info.Mode()&fs.ModeSymlink == 0:
		moved := filepath.Join(filepath.Dir(latest), "previous-"+now.UTC().Format("20060102T150405.000Z"))
		if err := os.Rename(latest, moved); err != nil {
			return fmt.Errorf("move what stood at %s: %w", latest, err)
		}
		d.Notes = append(d.Notes, fmt.Sprintf("%s was no link; it is now %s", latest, moved))
	default:
		if target, err := filepath.EvalSymlinks(latest); err == nil && IsLive(target) {
			return fmt.Errorf("%s is left as it is: the run %s is live", latest, filepath.Base(target))
		}
	}
	fresh := filepath.Join(filepath.Dir(latest), ".latest-"+d.RunID)
	if err := os.Symlink(d.RunID, fresh); err != nil {
		return fmt.Errorf("link %s: %w", latest, err)
	}
	if err := os.Rename(fresh, latest); err != nil {
		_ = os.Remove(fresh)
		return fmt.Errorf("link %s: %w", latest, err)
	}
	return nil
}

// Close gives up the lock: the run is over.
func (d *Directory) Close() error { return d.lock.Close() }

// IsLive tells whether an obsrun holds the lock of this run directory.
func IsLive(dir string) bool {
	// Not to wait, should it be a FIFO that somebody has put there.
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	return errors.Is(syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

func lock(path string, how int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), how)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return file, nil
}

// Manifest is run.json: how to find and name a run, while it lives and after.
type Manifest struct {
	RunID   string    `json:"run_id"`
	PID     int       `json:"pid"` // of obsrun
	URL     string    `json:"url"` // of the dashboard, with its token; empty where it is off
	Started time.Time `json:"started"`
	Command []string  `json:"command"` // secrets masked
	Version string    `json:"obsrun_version"`
}

// maxManifest is how much of a run.json is read, in bytes. A command line takes the
// most of it, and the kernel takes none of more than 6 MiB.
const maxManifest = 64 << 20

// ReadManifest reads run.json of a run directory.
func ReadManifest(dir string) (Manifest, error) {
	var m Manifest
	file, err := Open(ManifestPath(dir))
	if err != nil {
		return Manifest{}, fmt.Errorf("read run.json: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxManifest))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("read run.json: %w", err)
	}
	return m, nil
}
