package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// watch is a run with its recorder and a watchdog that goes.
type watch struct {
	t        testing.TB
	dir      string
	recorder *run.Recorder
	skipped  atomic.Int64 // added to the recorder's clock
	stop     func()       // ends the watchdog and waits for that
	done     chan struct{}
}

func startWatch(t testing.TB, limits string, change func(*WatchConfig)) *watch {
	t.Helper()
	w := &watch{t: t, dir: t.TempDir(), done: make(chan struct{})}
	recorder, err := run.NewRecorder(w.dir, func() time.Time { return time.Now().Add(time.Duration(w.skipped.Load())) })
	require.NoError(t, err)
	w.recorder = recorder
	require.NoError(t, recorder.Begin("test", nil))
	timeout, err := ParseStallTimeout(strings.Fields(limits))
	require.NoError(t, err)
	config := WatchConfig{Limits: timeout, Feed: recorder.Feed(), Elapsed: recorder.Elapsed, Record: recorder.Record}
	if change != nil {
		change(&config)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(w.done)
		Watch(ctx, config)
	}()
	w.stop = func() { cancel(); <-w.done }
	t.Cleanup(func() { w.stop(); _ = recorder.Finish(telemetry.StatusOK, map[string]any{}) })
	return w
}

func (w *watch) record(kind telemetry.Type, id string) {
	w.t.Helper()
	require.NoError(w.t, w.recorder.Record(telemetry.Event{Type: kind, SpanID: id, Kind: "agent", Source: telemetry.SourceSocket}))
	w.sync()
}

func (w *watch) sync() {
	w.t.Helper()
	require.NoError(w.t, w.recorder.Sync(context.Background()))
}

// told gives what obsrun itself wrote after the run's start: second, event, span or
// message.
func (w *watch) told() (list []string) {
	w.sync()
	f, err := os.Open(run.JournalPath(w.dir))
	require.NoError(w.t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e struct {
			Event, Source, Message, Level string
			SpanID                        string `json:"span_id"`
			RecvMS                        int64  `json:"recv_ms"`
		}
		require.NoError(w.t, json.Unmarshal(lines.Bytes(), &e))
		if e.Source == telemetry.SourceObsrun && e.Event != "span_start" && e.Event != "span_end" {
			list = append(list, strings.TrimSpace(fmt.Sprintf("%d %s %s%s %s", e.RecvMS/1000, e.Event, e.SpanID, e.Level, e.Message)))
		}
	}
	return list
}

// bubble runs a test in fake time.
func bubble(t *testing.T, name string, test func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func TestWatch(t *testing.T) {
	bubble(t, "flags, and sees it resume", func(t *testing.T) {
		w := startWatch(t, "60s", nil)
		w.record(telemetry.SpanStart, "a")
		time.Sleep(59*time.Second + 500*time.Millisecond) // between two looks
		assert.Empty(t, w.told())
		time.Sleep(10 * time.Second)
		assert.Equal(t, []string{"60 span_stalled a"}, w.told())
		w.recorder.Feed().View(func(s *run.State) {
			span, _ := s.Span("a")
			assert.Equal(t, run.Stalled, span.State)
			assert.Equal(t, int64(60_000), span.IdleMS)
		})
		w.record(telemetry.SpanUpdate, "a")
		time.Sleep(2 * time.Second)
		assert.Equal(t, []string{"60 span_stalled a", "70 span_resumed a"}, w.told())
	})
	bubble(t, "tells what resumed before it stops", func(t *testing.T) {
		w := startWatch(t, "60s", nil)
		w.record(telemetry.SpanStart, "a")
		time.Sleep(65*time.Second + 100*time.Millisecond)
		w.record(telemetry.SpanEnd, "a")
		w.stop()
		assert.Equal(t, []string{"60 span_stalled a", "65 span_resumed a"}, w.told())
	})
	bubble(t, "a limit below a second", func(t *testing.T) {
		w := startWatch(t, "400ms", nil)
		w.record(telemetry.SpanStart, "a")
		time.Sleep(501 * time.Millisecond)
		assert.Equal(t, []string{"0 span_stalled a"}, w.told())
	})
	bubble(t, "the terminal", func(t *testing.T) {
		began := time.Now()
		var output atomic.Int64
		w := startWatch(t, "60s", func(c *WatchConfig) {
			c.LastOutput = func() time.Time { return began.Add(time.Duration(output.Load())) }
			c.LastInput = func() time.Time { return began }
		})
		show := func() { output.Store(int64(time.Since(began))) }
		time.Sleep(50*time.Second + 500*time.Millisecond)
		show()
		time.Sleep(59 * time.Second)
		assert.Empty(t, w.told())
		time.Sleep(2 * time.Second)
		require.Len(t, w.told(), 1)
		assert.Contains(t, w.told()[0], "111 span_stalled")
		show()
		time.Sleep(2 * time.Second)
		require.Len(t, w.told(), 2)
		assert.Contains(t, w.told()[1], "112 span_resumed")
	})
	bubble(t, "calls once", func(t *testing.T) {
		var called []string
		w := startWatch(t, "60s", func(c *WatchConfig) {
			c.OnStall = func(e telemetry.Event) { called = append(called, e.SpanID) }
		})
		w.record(telemetry.SpanStart, "a")
		w.record(telemetry.SpanStart, "b")
		time.Sleep(time.Hour)
		w.stop()
		assert.Equal(t, []string{"a"}, called)
	})
	bubble(t, "off", func(t *testing.T) {
		w := startWatch(t, "0", nil)
		<-w.done
	})
	bubble(t, "ends with the run", func(t *testing.T) {
		w := startWatch(t, "60s", nil)
		time.Sleep(time.Second)
		require.NoError(t, w.recorder.Finish(telemetry.StatusOK, map[string]any{}))
		time.Sleep(2 * time.Minute)
		<-w.done
	})
	bubble(t, "is told again when it could not be recorded", func(t *testing.T) {
		var failures atomic.Int64
		w := startWatch(t, "60s", func(c *WatchConfig) {
			record := c.Record
			c.Record = func(e telemetry.Event) error {
				if failures.Add(1) <= 3 {
					return run.ErrFull
				}
				return record(e)
			}
		})
		w.record(telemetry.SpanStart, "a")
		time.Sleep(70 * time.Second)
		assert.Equal(t, []string{"63 span_stalled a"}, w.told())
	})
	bubble(t, "L9 a nanosecond is no busy loop", func(t *testing.T) {
		var looks atomic.Int64
		w := startWatch(t, "1ns", func(c *WatchConfig) {
			elapsed := c.Elapsed
			c.Elapsed = func() time.Duration { looks.Add(1); return elapsed() }
		})
		w.record(telemetry.SpanStart, "a")
		time.Sleep(10 * time.Second)
		assert.Equal(t, []string{"0 span_stalled a"}, w.told())
		assert.Less(t, looks.Load(), int64(3*10*20))
	})
}

func TestWatchSuspended(t *testing.T) {
	const lost = "info the machine or obsrun was suspended for %s, or the clock was set: nobody's silence is counted over that time"
	bubble(t, "L7 everything was stopped", func(t *testing.T) {
		w := startWatch(t, "60s", nil)
		w.record(telemetry.SpanStart, "a")
		w.record(telemetry.SpanStart, "b")
		time.Sleep(50*time.Second + 500*time.Millisecond)
		w.skipped.Store(int64(40 * time.Second))
		time.Sleep(60 * time.Second)
		assert.Equal(t, []string{"91 log " + fmt.Sprintf(lost, "40s")}, w.told())
		time.Sleep(time.Second)
		assert.Len(t, w.told(), 3)
		assert.Contains(t, w.told()[1], "151 span_stalled a")
	})
	bubble(t, "L7 the clock on the wall went on", func(t *testing.T) {
		var ahead atomic.Int64
		w := startWatch(t, "60s", func(c *WatchConfig) {
			c.wall = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		})
		w.record(telemetry.SpanStart, "a")
		time.Sleep(50*time.Second + 500*time.Millisecond)
		ahead.Store(int64(8 * time.Hour))
		time.Sleep(30 * time.Second)
		ahead.Store(0) // set back: nothing is missing
		time.Sleep(30 * time.Second)
		assert.Equal(t, []string{"51 log " + fmt.Sprintf(lost, "8h0m0s")}, w.told())
	})
	bubble(t, "a short delay is none", func(t *testing.T) {
		w := startWatch(t, "60s", nil)
		w.record(telemetry.SpanStart, "a")
		for range 10 {
			time.Sleep(3 * time.Second)
			w.skipped.Add(int64(2 * time.Second))
		}
		time.Sleep(20 * time.Second)
		assert.Equal(t, []string{"60 span_stalled a"}, w.told())
	})
}

func TestWatchStoodStill(t *testing.T) {
	zero := time.Unix(1e9, 0)
	at := func(run, wall float64) moment {
		return moment{time.Duration(run * 1e9), zero.Add(time.Duration(wall * 1e9))}
	}
	cases := []struct {
		name     string
		now      moment
		expected float64
		want     float64
	}{
		{"on time", at(11, 11), 11, 0},
		{"a little late", at(13.9, 13.9), 11, 0},
		{"stopped", at(16, 16), 11, 5},
		{"suspended", at(11, 100), 11, 89},
		{"both", at(16, 100), 11, 5 + 84},
		{"clock set back", at(11, -3600), 11, 0},
		{"a slow look before is no gap", at(30, 30), 30, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := stoodStill(at(10, 10), c.now, time.Duration(c.expected*1e9))
			assert.Equal(t, time.Duration(c.want*1e9), got)
		})
	}
}

// Real processes in real time: L6.
func TestWatchProcesses(t *testing.T) {
	t.Run("idle: flagged, and named", func(t *testing.T) {
		t.Parallel()
		pid := shell(t, `echo $$; exec sleep 1000`)
		stalled := make(chan telemetry.Event, 1)
		w := startWatch(t, "2s", func(c *WatchConfig) {
			c.PID = pid
			c.OnStall = func(e telemetry.Event) { stalled <- e }
		})
		w.record(telemetry.SpanStart, "a")
		e := <-stalled
		assert.Equal(t, "a", e.SpanID)
		var evidence Evidence
		require.NoError(t, json.Unmarshal(e.Evidence, &evidence))
		assert.Equal(t, pid, evidence.PID)
		assert.Equal(t, "sleep", evidence.Command)
		assert.Equal(t, 1, *evidence.Processes)
		assert.Less(t, *evidence.CPUPercent, 1.0)
		assert.GreaterOrEqual(t, e.IdleMS.F, 2000.0)
	})
	t.Run("busy: not flagged until it is not", func(t *testing.T) {
		t.Parallel()
		flag := t.TempDir() + "/stop"
		pid := shell(t, `echo $$; while [ ! -e `+flag+` ]; do :; done; exec sleep 1000`)
		var once sync.Once
		stalled := make(chan struct{})
		w := startWatch(t, "1s", func(c *WatchConfig) {
			c.PID = pid
			c.OnStall = func(telemetry.Event) { once.Do(func() { close(stalled) }) }
		})
		w.record(telemetry.SpanStart, "a")
		select {
		case <-stalled:
			t.Fatal("it was computing: ", w.told())
		case <-time.After(2500 * time.Millisecond):
		}
		require.NoError(t, os.WriteFile(flag, nil, 0o600))
		<-stalled
		assert.Contains(t, w.told()[0], "span_stalled a")
	})
}
