package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Exit statuses of a command that did not start, as the shell, env and timeout
// use them.
const (
	statusFault      = 125 // obsrun's own failure
	statusCannotRun  = 126 // found, but could not be executed
	statusNotFound   = 127 // no such command
	defaultPath      = "/usr/bin:/bin"
	fallbackShell    = "/bin/sh"
	interpreterBytes = 256 // what the kernel reads of a #! line
)

// StartError says why COMMAND did not start. Nothing is left running and the
// terminal is as it was.
type StartError struct {
	// Status is the exit status that tells it: 125 (obsrun's own failure),
	// 126 (COMMAND could not be run) or 127 (COMMAND was not found).
	Status int
	Err    error
}

func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

func fault(verb string, err error) error {
	return &StartError{statusFault, fmt.Errorf("%s: %w", verb, advised(err))}
}

// advised says what to do where a limit of the system stood in the way.
func advised(err error) error {
	switch {
	case errors.Is(err, unix.EMFILE):
		return fmt.Errorf("%w (ulimit -n raises the limit)", err)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w (too many processes? ulimit -u raises the limit)", err)
	}
	return err
}

// Resolve finds the file that execvp would run for name: name itself where it
// has a slash (relative to dir, if dir is set), else the first executable file
// of that name along PATH in env. Unlike [os/exec.LookPath] it takes relative
// PATH entries as they are. The error is a [*StartError] of status 126 or 127.
func Resolve(name string, env []string, dir string) (string, error) {
	if name == "" {
		return "", &StartError{statusNotFound, errors.New("run \"\": the command name is empty")}
	}
	if strings.Contains(name, "/") {
		if err := executable(name, dir); err != nil {
			return "", unrunnable(name, err)
		}
		return name, nil
	}
	path, set := lookup(env, "PATH")
	if !set {
		path = defaultPath
	}
	var denied error
	for _, entry := range strings.Split(path, ":") {
		if entry == "" {
			entry = "."
		}
		file := entry + "/" + name
		err := executable(file, dir)
		if err == nil {
			return file, nil
		}
		if denied == nil && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EISDIR)) {
			// A later entry may still have it; only if none does is this
			// the thing to report.
			denied = unrunnable(file, err)
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", &StartError{statusNotFound, fmt.Errorf("run %s: command not found in PATH", name)}
}

// executable reports why file cannot be executed; nil if it probably can.
func executable(file, dir string) error {
	if dir != "" && !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return unix.EISDIR
	}
	return unix.Access(file, unix.X_OK)
}

// unrunnable words the failure to execute file.
func unrunnable(file string, err error) error {
	switch {
	case errors.Is(err, unix.EISDIR):
		return &StartError{statusCannotRun, fmt.Errorf("run %s: is a directory", file)}
	case errors.Is(err, unix.EACCES):
		return &StartError{statusCannotRun, fmt.Errorf("run %s: permission denied (is it executable? chmod +x)", file)}
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return &StartError{statusNotFound, fmt.Errorf("run %s: no such file", file)}
	case errors.Is(err, unix.EAGAIN):
		return &StartError{statusCannotRun, fmt.Errorf("run %s: there are too many processes (ulimit -u raises the limit)", file)}
	}
	return &StartError{statusCannotRun, fmt.Errorf("run %s: %w", file, err)}
}

// refused words an execve that failed although the file was there.
func refused(file, dir string, errno unix.Errno) error {
	if errno == unix.ENOENT && executable(file, dir) == nil {
		// The kernel says "no such file" of the interpreter.
		if name := interpreter(file, dir); name != "" {
			return &StartError{statusCannotRun, fmt.Errorf("run %s: bad interpreter %s: no such file", file, name)}
		}
		return &StartError{statusCannotRun, fmt.Errorf("run %s: its program loader is missing (built for another system?)", file)}
	}
	return unrunnable(file, errno)
}

// interpreter returns the program named on a #! line, "" if there is none.
func interpreter(file, dir string) string {
	if dir != "" && !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	line, _ := bufio.NewReaderSize(f, interpreterBytes).ReadSlice('\n')
	text, ok := strings.CutPrefix(string(line), "#!")
	fields := strings.Fields(text)
	if !ok || len(fields) == 0 {
		return ""
	}
	return fields[0]
}

// lookup returns the first value of key in env, as getenv does.
func lookup(env []string, key string) (string, bool) {
	for _, entry := range env {
		if k, v, ok := strings.Cut(entry, "="); ok && k == key {
			return v, true
		}
	}
	return "", false
}
