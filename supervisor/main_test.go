package supervisor

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// testConfig is how a test tells the re-executed test binary to be an obsrun.
type testConfig struct {
	NoPTY     bool
	Cast      string        // path of the recording
	Report    string        // path of what Wait returned, as JSON
	Interrupt string        // path of a file to which OnInterrupt appends the signal
	Panic     string        // where to panic: "interrupt", "cast"
	Terminate time.Duration // after which to call Terminate
	Grace     time.Duration // of that Terminate
	Linger    time.Duration // how long to wait for a late signal
	Dir       string
}

type testReport struct {
	Code        int
	Signal      int
	CoreDumped  bool
	Interrupted bool
	Survivors   []Survivor
	Stdout      string
	Err         string
	Late        string
	Cast        string
}

const configVariable = "OBSRUN_SUPERVISOR_TEST"

// TestMain is an obsrun reduced to this package, a child that tries to
// break it, or the tests.
func TestMain(m *testing.M) {
	// A program built with the race detector sleeps for a second before it ends, and
	// here each command means two such programs.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	if text, ok := os.LookupEnv(configVariable); ok {
		os.Unsetenv(configVariable)
		var config testConfig
		if err := json.Unmarshal([]byte(text), &config); err != nil {
			panic(err)
		}
		os.Exit(obsrun(config))
	}
	if len(os.Args) > 2 && os.Args[1] == breaker {
		os.Exit(breakers[os.Args[2]](os.Args[3:]))
	}
	// What the tests were started with beyond the three is nothing to their commands.
	for _, fd := range inheritedFiles() {
		syscall.CloseOnExec(fd)
	}
	// Nor is what they were started to ignore, by nohup or by a shell without job
	// control: of a signal that is caught, a command gets the default again.
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	os.Exit(m.Run())
}

type panicky struct{}

func (panicky) Write([]byte) (int, error) { panic("cast writer") }

func obsrun(config testConfig) int {
	c := Command{Args: os.Args[1:], Env: os.Environ(), Dir: config.Dir, NoPTY: config.NoPTY,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if config.Cast != "" {
		f, err := os.Create(config.Cast)
		if err != nil {
			panic(err)
		}
		defer f.Close()
		c.Cast = NewCast(f)
	}
	if config.Panic == "cast" {
		c.Cast = NewCast(panicky{})
	}
	c.OnInterrupt = func(sig os.Signal) {
		if config.Panic == "interrupt" {
			panic("on interrupt")
		}
		if config.Interrupt != "" {
			f, _ := os.OpenFile(config.Interrupt, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			fmt.Fprintln(f, sig)
			f.Close()
		}
	}
	p, err := Start(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "obsrun:", strings.ReplaceAll(err.Error(), "\n", " "))
		return err.(*StartError).Status
	}
	if config.Terminate > 0 {
		time.AfterFunc(config.Terminate, func() { p.Terminate(config.Grace) })
	}
	exit := p.Wait()
	r := testReport{Code: exit.Code, Signal: int(exit.Signal), CoreDumped: exit.CoreDumped, Interrupted: exit.Interrupted, Survivors: exit.Survivors}
	if exit.Stdout != nil {
		r.Stdout = exit.Stdout.Error()
	}
	if exit.Err != nil {
		r.Err = exit.Err.Error()
	}
	if c.Cast != nil && c.Cast.Err() != nil {
		r.Cast = c.Cast.Err().Error()
	}
	if config.Linger > 0 {
		select {
		case sig := <-p.Late():
			r.Late = sig.String()
		case <-time.After(config.Linger):
		}
	}
	p.Close()
	if config.Report != "" {
		b, _ := json.Marshal(r)
		if err := os.WriteFile(config.Report, b, 0o600); err != nil {
			panic(err)
		}
	}
	return exit.Code
}
