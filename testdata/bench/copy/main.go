// Command copy is the least that takes what clients send to a socket: it listens,
// runs a command with OBSRUN_SOCKET in its environment, and copies what comes to a
// file. It looks at nothing.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	if len(os.Args) < 4 || os.Args[2] != "--" {
		fmt.Fprintln(os.Stderr, "usage: copy FILE -- COMMAND [ARG...]")
		os.Exit(125)
	}
	if err := run(os.Args[1], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "copy:", err)
		os.Exit(1)
	}
}

func run(path string, command []string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	dir, err := os.MkdirTemp("", "copy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				// Nothing that would have the kernel copy past this program.
				_, _ = io.CopyBuffer(struct{ io.Writer }{file}, struct{ io.Reader }{conn}, make([]byte, 64<<10))
			}()
		}
	}()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "OBSRUN_SOCKET="+socket)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
