// Command bare is the least that runs a program under a pseudo-terminal: what its
// output costs and nothing else.
package main

import (
	"errors"
	"io"
	"os"
	"os/exec"

	"github.com/creack/pty"
)

func main() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	master, err := pty.Start(cmd)
	if err != nil {
		os.Exit(125)
	}
	_, _ = io.Copy(os.Stdout, master)
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
}
