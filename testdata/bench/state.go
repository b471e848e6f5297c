package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// state is how fast a hundred dashboards come to know the state that many events lead
// to. They are sent deltas, 20 a second, so an event that is folded into the state that
// a client was sent counts as delivered to it.
var state = row{
	name: "state-flat",
	work: "20,000 events as fast as they come, 100 clients of /state",
	run: func(b *bench) ([]line, error) {
		all, err := b.inTurn(
			contender{"obsrun", b.shown(b.obsrun, 100, 20_000)},
			contender{"r3labs/sse", b.heard("r3labs", "", 100, 20_000, 0)},
			contender{"base", b.shown(b.base, 100, 20_000)},
		)
		if err != nil {
			return nil, err
		}
		return b.beside([]line{
			{"deliveries", "k/s", all[0].of("rate"), "r3labs/sse", all[1].of("rate"), atLeast(3)},
			{"CPU a delivery", "us", all[0].of("CPU"), "r3labs/sse", all[1].of("CPU"), goal{}},
		}, all[0], all[2], "rate k/s", "CPU us"), nil
	},
}

// shown has so many clients follow /state until each has reached the last event.
func (b *bench) shown(program string, clients, events int) func() (sample, error) {
	if program == "" || b.peer("flood") == "" {
		return nil
	}
	return func() (sample, error) {
		server, err := b.startRun(program)
		if err != nil {
			return nil, err
		}
		defer server.stop()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		url := strings.Replace(server.env["OBSRUN_URL"], "/?", "/state?", 1)
		errs := make(chan error, clients)
		for range clients {
			if err := follow(ctx, url, int64(events), errs); err != nil {
				return nil, err
			}
		}
		time.Sleep(300 * time.Millisecond)
		before, _ := server.used()
		begun := time.Now()
		if err := server.tell("%s -conns 1 -batch 64 -events %d", filepath.ToSlash(b.peer("flood")), events); err != nil {
			return nil, err
		}
		for range clients {
			if err := <-errs; err != nil {
				return nil, err
			}
		}
		wall := time.Since(begun)
		after, _ := server.used()
		deliveries := float64(clients * events)
		return sample{"rate": deliveries / ms(wall), "CPU": (after - before) * 1e3 / deliveries}, nil
	}
}

// follow opens a stream, and tells when it has reached so many lines beyond the first.
func follow(ctx context.Context, url string, events int64, done chan<- error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("open a stream: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("open a stream: %s", resp.Status)
	}
	go func() {
		defer resp.Body.Close()
		in := bufio.NewReaderSize(resp.Body, 64<<10)
		begins, first := true, int64(-1)
		for {
			text, more, err := in.ReadLine()
			if err != nil {
				done <- err
				return
			}
			if id, ok := strings.CutPrefix(string(text[:min(len(text), 32)]), "id: "); ok && begins {
				line, _ := strconv.ParseInt(id, 10, 64)
				if first < 0 {
					first = line
				}
				if line-first >= events {
					done <- nil
					return
				}
			}
			begins = !more
		}
	}()
	return nil
}
