package main

import (
	"io"
	"os"
	"runtime"

	"github.com/pkg/browser"
)

// hasDisplay tells whether a browser could show anything.
func hasDisplay() bool {
	return runtime.GOOS == "darwin" || os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}

// openBrowser starts the browser, and says nothing: the terminal is the child's.
func openBrowser(url string, failed func(error)) {
	browser.Stdout, browser.Stderr = io.Discard, io.Discard
	go func() {
		if err := browser.OpenURL(url); err != nil {
			failed(err)
		}
	}()
}
