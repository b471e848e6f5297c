package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/serve"
	"github.com/obsrun/obsrun/ui"
)

func serveCommand(w world) *cli.Command {
	return &cli.Command{
		Name: "serve", Usage: "the dashboard of a finished or still running run, or of all runs of a directory",
		UsageText: "obsrun serve [flags] [RUN|DIR]",
		Flags:     serveFlags(),
		Action: func(c *cli.Context) error {
			opt, err := servingOptions(c, w)
			if err != nil {
				return err
			}
			if opt.listen == "off" {
				return usagef("--listen off leaves nothing to serve")
			}
			ref := "latest"
			switch c.NArg() {
			case 0:
			case 1:
				ref = c.Args().First()
			default:
				return usagef("serve takes one RUN, or the DIR that runs are in")
			}
			if info, err := os.Stat(ref); err == nil && info.IsDir() && !run.IsRun(ref) {
				return serveLibrary(c.Context, w, opt, ref)
			}
			dir, err := run.Find(opt.logDir, ref)
			if err != nil {
				return err
			}
			return serveRun(c.Context, w, opt, dir)
		},
	}
}

// serveRun serves a run that another process recorded, or still records, until
// interrupted.
func serveRun(ctx context.Context, w world, opt serving, dir string) error {
	ctx, stop := untilInterrupted(ctx)
	defer stop()
	if err := hasJournal(dir); err != nil {
		return err
	}
	feed, unfollow, err := run.Follow(ctx, dir)
	if err != nil {
		return err
	}
	defer unfollow()
	feed.View(func(state *run.State) { err = readable(dir, state) })
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	id := filepath.Base(absolute(dir))
	return serveUntil(ctx, w, opt, "run "+id, serve.Config{RunID: id, Dir: dir, Feed: feed, Last: lastOf(dir, feed.View), Page: ui.Page})
}

// serveLibrary serves all runs below a directory until interrupted.
func serveLibrary(ctx context.Context, w world, opt serving, dir string) error {
	ctx, stop := untilInterrupted(ctx)
	defer stop()
	return serveUntil(ctx, w, opt, "runs of "+dir, serve.Config{
		RunID: fmt.Sprintf("runs-%08x", crc32.ChecksumIEEE([]byte(absolute(dir)))), // it names the cookie
		Page:  ui.Runs, Library: library(ctx, dir),
	})
}

// serveUntil serves what cfg shows, called what, until ctx is done.
func serveUntil(ctx context.Context, w world, opt serving, what string, cfg serve.Config) error {
	cfg.Token, cfg.TokenIn = serve.NewToken(), "It is part of the address that obsrun serve printed"
	cfg.AllowHosts, cfg.Listen, cfg.TLSCert, cfg.TLSKey, cfg.Insecure = opt.allowHosts, opt.listen, opt.tlsCert, opt.tlsKey, opt.insecure
	cfg.Fault = func(err error) { say(w.stderr, "%v", err) }
	server, err := serve.Listen(cfg)
	if err != nil {
		return err
	}
	say(w.stderr, "%s, dashboard %s; Ctrl-C ends", what, server.URL())
	if opt.open {
		openBrowser(server.OpenURL(), func(err error) { say(w.stderr, "open the browser: %v", err) })
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve() }()
	select {
	case err = <-failed:
	case <-ctx.Done():
		shutdown, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		err = server.Shutdown(shutdown)
	}
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return err
}
