package main

import (
	"flag"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the golden files")

// detach tells an obsrun of a test to leave the terminal of whoever runs the
// tests: it would take the keyboard of that.
const detach = "DETACH"

// TestMain is obsrun, an orchestrator of a test, or the tests: the
// test binary stands in PATH under the names of all these.
func TestMain(m *testing.M) {
	// The race detector waits for a second before a process ends.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	for _, name := range append(twins(), "OBSRUN_SOCKET", "OBSRUN_RUN_ID", "OBSRUN_RUN_DIR", "OBSRUN_PARENT_SPAN", "OBSRUN_URL", "TRACEPARENT", "CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY") {
		if os.Getenv("TESTED") == "" {
			os.Unsetenv(name) // the tests may run under obsrun, in CI
		}
	}
	if os.Getenv("TESTED") == "" {
		// What the tests were started to ignore, by nohup or by a shell without job
		// control, is nothing to their commands: of a signal that is caught, they get
		// the default again.
		for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
			if signal.Ignored(sig) {
				signal.Notify(make(chan os.Signal, 1), sig)
			}
		}
	}
	os.Setenv("TESTED", "1")
	testscript.Main(m, map[string]func(){
		"obsrun": func() {
			if os.Getenv(detach) != "" {
				os.Unsetenv(detach)
				_, _ = syscall.Setsid()
			}
			main()
		},
		"player":     playRecording,
		"instrument": instrumented,
	})
}
