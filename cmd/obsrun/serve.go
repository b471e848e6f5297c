package main

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/serve"
	"github.com/obsrun/obsrun/ui"
)

func serveCommand(w world) *cli.Command {
	return &cli.Command{
		Name: "serve", Usage: "the dashboard of a finished or still running run",
		UsageText: "obsrun serve [flags] [RUN]",
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
				return usagef("serve takes one RUN")
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
	feed, unfollow, err := run.Follow(ctx, dir)
	if err != nil {
		return err
	}
	defer unfollow()
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	server, err := serve.Listen(serve.Config{
		RunID: filepath.Base(absolute(dir)), Dir: dir, Feed: feed, Page: ui.Page, Token: serve.NewToken(),
		TokenIn:    "It is part of the address that obsrun serve printed",
		AllowHosts: opt.allowHosts, Listen: opt.listen, TLSCert: opt.tlsCert, TLSKey: opt.tlsKey, Insecure: opt.insecure,
		Fault: func(err error) { say(w.stderr, "%v", err) },
	})
	if err != nil {
		return err
	}
	say(w.stderr, "run %s, dashboard %s; Ctrl-C ends", filepath.Base(absolute(dir)), server.URL())
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
