package main

import (
	"encoding/json"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
)

// allow bounds how large the files of a running obsrun may become; -1: as before. To
// obsrun it is a disk that fills up, but one that is full for it alone.
func (h *heldRun) allow(size int64) {
	h.t.Helper()
	limit := unix.Rlimit{Cur: uint64(size), Max: unix.RLIM_INFINITY}
	var now unix.Rlimit
	require.NoError(h.t, unix.Prlimit(h.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &now))
	limit.Max = now.Max
	if size < 0 {
		limit.Cur = now.Max
	}
	require.NoError(h.t, unix.Prlimit(h.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil))
}

// checkLines checks that the journal has whole events only, and gives it as one text.
func checkLines(t *testing.T, runDir string) string {
	t.Helper()
	lines, torn := journalLines(t, run.JournalPath(runDir))
	assert.Zero(t, torn)
	for i, line := range lines {
		assert.True(t, json.Valid([]byte(line)), "line %d: %q", i+1, line)
	}
	return strings.Join(lines, "")
}

// The disk is full in the middle of a line, at every place of it, and has room again:
// nothing is lost, nobody is told that something was kept before it is.
func TestDiskFullAndBack(t *testing.T) {
	t.Parallel()
	h := hold(t, t.TempDir(), "echo out; exit 5").up()
	require.True(t, tell(h.socket, `{"event":"span_start","span_id":"a","kind":"agent"}`+"\n"))
	for i := range 20 {
		info, err := os.Stat(run.JournalPath(h.runDir))
		require.NoError(t, err)
		h.allow(info.Size() + int64(10*i))
		kept := make(chan bool, 1)
		go func() { kept <- tell(h.socket, updateLine("a", i+1, 300), updateLine("b", i+1, 300)) }()
		select {
		case <-kept:
			require.Fail(t, "acknowledged although it is nowhere")
		case <-time.After(30 * time.Millisecond):
		}
		checkLines(t, h.runDir)
		h.allow(-1)
		require.True(t, <-kept, "round %d", i)
	}
	h.release()
	out, err := h.out.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "out\n", out)
	assert.Equal(t, 5, h.wait())
	assert.Regexp(t, `(?m)^obsrun: the journal could not be written for a time \(.*file too large\); 0 events were lost$`, h.words.String())
	text := checkLines(t, h.runDir)
	for i := range 20 {
		assert.Equal(t, 1, strings.Count(text, fmt.Sprintf(`"span_id":"a","tokens":%d,`, i+1)))
		assert.Equal(t, 1, strings.Count(text, fmt.Sprintf(`"span_id":"b","tokens":%d,`, i+1)))
	}
	summary, err := report.ReadSummary(run.SummaryPath(h.runDir))
	require.NoError(t, err)
	assert.EqualValues(t, 20, summary.Agents[0].Tokens)
}

// The disk stays full to the end of the run: that is said, the child's status counts,
// and the run is there up to the moment when it was full.
func TestDiskFullToTheEnd(t *testing.T) {
	t.Parallel()
	h := hold(t, t.TempDir(), "seq 1000; exit 5", "--record").up()
	require.True(t, tell(h.socket, `{"event":"span_start","span_id":"a","kind":"agent"}`+"\n"))
	h.allow(0)
	go tell(h.socket, updateLine("a", 7, 100))
	time.Sleep(30 * time.Millisecond)
	h.release()
	for i := range 1000 {
		line, err := h.out.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintln(i+1), line)
	}
	assert.Equal(t, 5, h.wait())
	assert.Regexp(t, `(?m)^obsrun: write journal: .*file too large; \d+ events were lost, free space or choose another --log-dir$`, h.words.String())
	assert.Regexp(t, `(?m)^obsrun: write \S+/run_summary.json: .*file too large`, h.words.String())
	checkLines(t, h.runDir)
	assert.NoFileExists(t, run.SummaryPath(h.runDir))
	summary, words, status := reported(t, h.runDir)
	require.Zero(t, status, words)
	assert.Equal(t, "interrupted", summary.Status)
	assert.EqualValues(t, 1, summary.Totals.AgentsSpawned)
}

// A limit of the size of files from the start on.
func TestSmallFilesOnly(t *testing.T) {
	t.Parallel()
	for _, kib := range []int{0, 1, 2} {
		t.Run(fmt.Sprint(kib), func(t *testing.T) {
			dir := t.TempDir()
			cmd := osexec.Command("bash", "-c", fmt.Sprintf(`ulimit -f %d; exec obsrun --record -- sh -c 'seq 300; exit 5'`, kib))
			cmd.Dir, cmd.Env = dir, append(os.Environ(), detach+"=1", "CI=true")
			var words strings.Builder
			cmd.Stderr = &words
			out, _ := cmd.Output()
			assert.Equal(t, 5, cmd.ProcessState.ExitCode(), words.String())
			assert.True(t, strings.HasPrefix(string(out), "1\n2\n") && strings.HasSuffix(string(out), "\n300\n"), "%q", out)
			for line := range strings.Lines(words.String()) {
				assert.Regexp(t, `^obsrun: `, line)
			}
			assert.Contains(t, words.String(), "file too large")
			found, err := filepath.Glob(filepath.Join(dir, "logs", "sh-*"))
			require.NoError(t, err)
			require.Len(t, found, 1)
			checkLines(t, found[0])
		})
	}
}

// apart runs a shell script with a view of the file system of its own, in which a disk
// of the given mount options is at ./disk.
func apart(t *testing.T, dir, options, script string) (stdout, stderr string) {
	t.Helper()
	disk := filepath.Join(dir, "disk")
	require.NoError(t, os.MkdirAll(disk, 0o700))
	mount := "mount --make-rprivate / && mount -t tmpfs -o " + options + " none " + disk
	run := func(script string) (string, string, error) {
		cmd := osexec.Command("sh", "-c", script)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), detach+"=1", "CI=true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if id := os.Getuid(); id != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		var out, words strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &words
		err := cmd.Run()
		return out.String(), words.String(), err
	}
	if _, words, err := run(mount); err != nil {
		t.Skipf("NOT CHECKED: this system lets nobody mount a disk: %v %s; limits of file sizes stand in for it in the tests beside this one", err, words)
	}
	stdout, stderr, err := run(mount + " || exit; " + script)
	require.NoError(t, err, stderr)
	return stdout, stderr
}

// A real disk that is too small in one way or the other, and has room again.
func TestSmallDisk(t *testing.T) {
	t.Parallel()
	const after = `; echo "status $?"; rm -f disk/fill*; obsrun report --format json disk/logs/latest >report.json; echo "report $?"`
	for _, c := range []struct {
		name, options, script string
		stdout, stderr        string
	}{
		{"full from the start", "size=64k",
			`cat /dev/zero >disk/fill 2>/dev/null; obsrun --log-dir disk/logs -- sh -c 'echo ran; exit 5'` + after,
			`^(ran\nstatus 5\n|status 125\n)report (0|125)\n$`, `^(obsrun: [^\n]*\n)+$`},
		{"full in the middle", "size=256k",
			`obsrun --log-dir disk/logs -- sh -c 'cat /dev/zero >disk/fill 2>/dev/null; for i in $(seq 40); do echo $i; done | tail -n 1; exit 5'` + after,
			`^40\nstatus 5\nreport 0\n$`, `no space left on device`},
		{"full and back", "size=256k",
			`obsrun --log-dir disk/logs -- sh -c 'cat /dev/zero >disk/fill 2>/dev/null; obsrun emit log message=while-full & sleep 0.4; rm disk/fill; wait; obsrun emit log message=after; exit 5'; ` +
				`echo "status $?"; grep -c -e '"message":"while-full"' -e '"message":"after"' disk/logs/latest/telemetry.jsonl; obsrun report --format json disk/logs/latest >report.json; echo "report $?"`,
			`^status 5\n2\nreport 0\n$`, ``},
		{"no inode from the start", "nr_inodes=4",
			`obsrun --log-dir disk/a/b/c/d -- touch ran; echo "status $?"; ls`,
			`^status 125\ndisk\n$`, `^obsrun: make log directory: .*no space left on device; choose another with --log-dir\n$`},
		{"no inode in the middle", "nr_inodes=40",
			`obsrun --log-dir disk/logs -- sh -c 'i=0; while echo >disk/fill$i; do i=$((i+1)); done 2>/dev/null; echo full; exit 5'` + after,
			`^full\nstatus 5\nreport 0\n$`, `write \S+run_summary.json: .*no space left on device`},
		{"read-only", "ro",
			`obsrun --log-dir disk/logs -- touch ran; echo "status $?"; ls`,
			`^status 125\ndisk\n$`, `^obsrun: make log directory: .*read-only file system; choose another with --log-dir\n$`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			stdout, stderr := apart(t, dir, c.options, c.script)
			assert.Regexp(t, c.stdout, stdout, stderr)
			assert.Regexp(t, c.stderr, stderr)
			assert.NotContains(t, stderr, "goroutine")
			if !strings.Contains(stdout, "report 0") {
				return
			}
			summary, err := report.ReadSummary(filepath.Join(dir, "report.json"))
			require.NoError(t, err)
			assert.Contains(t, []string{"error", "interrupted"}, summary.Status)
		})
	}
}

// ordinary runs obsrun as somebody who is not root, to whom modes mean something, in a
// directory of theirs.
func ordinary(t *testing.T, dir string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, words strings.Builder
	cmd := osexec.Command("obsrun", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = dir, &out, &words, append(os.Environ(), detach+"=1", "CI=true", "TMPDIR=/tmp")
	if os.Getuid() == 0 {
		const user = 61236
		exe, err := os.Open("/proc/self/exe")
		require.NoError(t, err)
		defer exe.Close()
		cmd.Path, cmd.ExtraFiles = "/proc/self/fd/3", []*os.File{exe} // the path to it may be root's
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		require.NoError(t, os.Chmod(filepath.Dir(dir), 0o711))
		require.NoError(t, os.Chown(dir, user, user))
	}
	_ = cmd.Run()
	return out.String(), words.String(), cmd.ProcessState.ExitCode()
}

// Where nothing may be written nothing is started, and where it may be no more, the
// run goes on and what is missing is told.
func TestReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, stderr, status := ordinary(t, dir, "--log-dir", "logs", "--", "true")
	require.Zero(t, status, stderr)

	logs := filepath.Join(dir, "logs")
	require.NoError(t, os.Chmod(logs, 0o500))
	_, stderr, status = ordinary(t, dir, "--", "touch", "ran")
	assert.Equal(t, 125, status)
	assert.Regexp(t, `^obsrun: make run directory: [^\n]*permission denied; choose another with --log-dir\n$`, stderr)
	assert.NoFileExists(t, filepath.Join(dir, "ran"))
	_, stderr, status = ordinary(t, dir, "--log-dir", "logs/more", "--", "touch", "ran")
	assert.Equal(t, 125, status)
	assert.Regexp(t, `^obsrun: make log directory: [^\n]*permission denied; choose another with --log-dir\n$`, stderr)
	require.NoError(t, os.Chmod(logs, 0o700))

	stdout, stderr, status := ordinary(t, dir, "--", "sh", "-c", `chmod 500 "$OBSRUN_RUN_DIR"; echo "$OBSRUN_RUN_DIR"; exit 5`)
	assert.Equal(t, 5, status)
	assert.Regexp(t, `(?m)^obsrun: write \S+run_summary.json: .*permission denied`, stderr)
	runDir := strings.TrimSpace(stdout)
	assert.Contains(t, checkLines(t, runDir), `"exit_code":5`)
	stdout, stderr, status = ordinary(t, dir, "report", "--format", "json", runDir)
	assert.Zero(t, status, stderr)
	assert.Empty(t, stderr)
	assert.Contains(t, stdout, `"exit_code": 5`)
	assert.NoFileExists(t, run.SummaryPath(runDir))
	require.NoError(t, os.Chmod(runDir, 0o700))

	// And where it may not even be read.
	require.NoError(t, os.Chmod(run.JournalPath(runDir), 0))
	_, stderr, status = ordinary(t, dir, "report", runDir)
	assert.Equal(t, 125, status)
	assert.Regexp(t, `^obsrun: open journal: [^\n]*permission denied\n$`, stderr)
	_, stderr, status = ordinary(t, dir, "list")
	assert.Zero(t, status)
	assert.Regexp(t, `^obsrun: \S+ is left out: open journal: [^\n]*permission denied\n$`, stderr)
}
