package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// paced is how soon a hundred listeners are told of an event.
var paced = row{
	name: "events-paced",
	work: "100 clients of /events, 500 events/s for 4 s",
	run: func(b *bench) ([]line, error) {
		const events = 2000
		all, err := b.inTurn(
			contender{"obsrun", b.heard(b.obsrun, "/events", 100, events, 500)},
			contender{"r3labs/sse", b.heard("r3labs", "", 100, events, 500)},
			contender{"base", b.heard(b.base, "/events", 100, events, 500)},
		)
		if err != nil {
			return nil, err
		}
		return b.beside([]line{
			{"p99", "ms", all[0].of("p99"), "r3labs/sse", all[1].of("p99"), goal{}},
			{"p99", "ms", all[0].of("p99"), "", nil, within(2)},
			{"CPU a delivery", "us", all[0].of("CPU"), "r3labs/sse", all[1].of("CPU"), atMost(1.2)},
		}, all[0], all[2], "p99 ms", "CPU us"), nil
	},
}

// flat is how many deliveries a second there are at most. Who is slower is given less to
// deliver, or it would take all the time.
var flat = row{
	name: "events-flat",
	work: "events as fast as they come (20,000, peers: 5,000), 100 clients",
	run: func(b *bench) ([]line, error) {
		all, err := b.inTurn(
			contender{"obsrun", b.heard(b.obsrun, "/events", 100, 20_000, 0)},
			contender{"r3labs/sse", b.heard("r3labs", "", 100, 5_000, 0)},
			contender{"tmaxmax/go-sse", b.heard("tmaxmax", "", 100, 5_000, 0)},
			contender{"base", b.heard(b.base, "/events", 100, 20_000, 0)},
		)
		if err != nil {
			return nil, err
		}
		return b.beside([]line{
			{"deliveries", "k/s", all[0].of("rate"), "r3labs/sse", all[1].of("rate"), atLeast(3)},
			{"deliveries", "k/s", all[0].of("rate"), "tmaxmax/go-sse", all[2].of("rate"), atLeast(6)},
			{"CPU a delivery", "us", all[0].of("CPU"), "r3labs/sse", all[1].of("CPU"), goal{}},
		}, all[0], all[3], "rate k/s", "CPU us"), nil
	},
}

// crowd is what a client that waits takes of memory.
var crowd = row{
	name: "events-crowd",
	work: "1,000 clients of /events, 100 events/s for 0.3 s",
	run: func(b *bench) ([]line, error) {
		all, err := b.inTurn(
			contender{"obsrun", b.heard(b.obsrun, "/events", 1000, 30, 100)},
			contender{"r3labs/sse", b.heard("r3labs", "", 1000, 30, 100)},
			contender{"base", b.heard(b.base, "/events", 1000, 30, 100)},
		)
		if err != nil {
			return nil, err
		}
		return b.beside([]line{
			{"memory", "MB", all[0].of("memory"), "r3labs/sse", all[1].of("memory"), atMost(0.9)},
		}, all[0], all[2], "memory MB"), nil
	},
}

// heard has so many clients listen to a stream, and gives how that went. Path is that
// of obsrun's; without it the program is broadcast, with the library of that name.
func (b *bench) heard(program, path string, clients, events, pace int) func() (sample, error) {
	if program == "" || path == "" && b.peer("broadcast") == "" || path != "" && b.peer("flood") == "" {
		return nil
	}
	return func() (sample, error) {
		var server *live
		var url string
		var err error
		if path != "" {
			if server, err = b.startRun(program); err != nil {
				return nil, err
			}
			defer server.stop()
			url = strings.Replace(server.env["OBSRUN_URL"], "/?", path+"?", 1)
		} else {
			if server, err = b.start(b.peer("broadcast"), program); err != nil {
				return nil, err
			}
			defer server.stop()
			if url, err = server.out.ReadString('\n'); err != nil {
				return nil, err
			}
			url = strings.TrimSpace(url)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		listeners, err := listen(ctx, url, clients, pace > 0)
		if err != nil {
			return nil, err
		}
		time.Sleep(300 * time.Millisecond)
		listeners.expect(int64(clients) * int64(events))
		before, _ := server.used()
		begun := time.Now()
		if path != "" {
			err = server.tell("%s -conns 1 -batch 64 -pace %d -events %d", filepath.ToSlash(b.peer("flood")), pace, events)
		} else {
			err = server.tell("%d %d", events, pace)
		}
		if err != nil {
			return nil, err
		}
		if err := listeners.wait(ctx); err != nil {
			return nil, err
		}
		wall := time.Since(begun)
		after, memory := server.used()
		cancel()
		deliveries := float64(clients * events)
		return sample{
			"rate": deliveries / ms(wall), "CPU": (after - before) * 1e3 / deliveries, "memory": memory,
			"p99": quantile(listeners.late, 0.99),
		}, nil
	}
}

// listeners read streams until they have heard what is expected.
type listeners struct {
	left atomic.Int64
	done chan struct{}
	once sync.Once

	mu   sync.Mutex
	late []float64 // ms from an event's ts
	err  error
}

var errEarly = errors.New("a stream ended before its last event")

func listen(ctx context.Context, url string, clients int, timed bool) (*listeners, error) {
	l := &listeners{done: make(chan struct{})}
	l.left.Store(1 << 62)
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 0, DisableCompression: true}}
	for range clients {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "text/event-stream")
		resp, err := client.Do(req)
		if err != nil {
			return nil, fmt.Errorf("open a stream: %w", err)
		}
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("open a stream: %s", resp.Status)
		}
		go func() {
			defer resp.Body.Close()
			buf := make([]byte, 64<<10)
			kept := 0
			for {
				n, err := resp.Body.Read(buf[kept:])
				now := float64(time.Now().UnixMicro()) / 1e3
				rest := l.hear(buf[:kept+n], now, timed)
				kept = copy(buf, rest)
				if err != nil {
					if ctx.Err() == nil && l.left.Load() > 0 {
						l.end(errEarly)
					}
					return
				}
			}
		}()
	}
	return l, nil
}

// hear counts the events whose line is whole, and gives the rest.
func (l *listeners) hear(b []byte, now float64, timed bool) (rest []byte) {
	count := int64(0)
	var late []float64
	for {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			break
		}
		line := b[:end]
		b = b[end+1:]
		if !bytes.HasPrefix(line, []byte("data:")) || !bytes.Contains(line, []byte(`"span_id":"agent-0-`)) {
			continue
		}
		count++
		if timed {
			if _, ts, ok := bytes.Cut(line, []byte(`"ts":`)); ok {
				ts, _, _ := bytes.Cut(ts, []byte(","))
				if seconds, err := strconv.ParseFloat(string(ts), 64); err == nil {
					late = append(late, now-seconds*1e3)
				}
			}
		}
	}
	if len(late) > 0 {
		l.mu.Lock()
		l.late = append(l.late, late...)
		l.mu.Unlock()
	}
	if count > 0 && l.left.Add(-count) == 0 {
		l.end(nil)
	}
	return b
}

func (l *listeners) expect(events int64) { l.left.Store(events) }

func (l *listeners) end(err error) {
	l.once.Do(func() { l.err = err; close(l.done) })
}

func (l *listeners) wait(ctx context.Context) error {
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return fmt.Errorf("%d events were never heard", l.left.Load())
	}
}
