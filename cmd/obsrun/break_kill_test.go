package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/run"
)

// kills is how many obsruns TestKilledAnywhere kills.
const kills = 200

// unit is what one connection told: an agent from its start to its end.
type unit struct {
	span    string
	updates int
}

// load is what clients tell a run until it is dead, and what they were shown.
type load struct {
	socket string

	mu    sync.Mutex
	over  bool // the end of a connection may be that of obsrun
	acked []unit
	shown map[int64]string // by line number
}

// client tells of one agent after the other; rnd decides how.
func (l *load) client(name string, rnd *rand.Rand, stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		u := unit{fmt.Sprintf("%s-%d", name, n), 1 + rnd.IntN(40)}
		size := []int{80, 80, 400, 9000}[rnd.IntN(4)]
		lines := []string{fmt.Sprintf("{\"event\":\"span_start\",\"span_id\":%q,\"kind\":\"agent\"}\n", u.span)}
		for i := range u.updates {
			lines = append(lines, updateLine(u.span, i+1, size))
		}
		lines = append(lines, fmt.Sprintf("{\"event\":\"span_end\",\"span_id\":%q,\"status\":\"ok\",\"tokens\":%d}\n", u.span, u.updates+1))
		if rnd.IntN(2) == 0 {
			lines = []string{strings.Join(lines, "")}
		}
		if !tell(l.socket, lines...) {
			return
		}
		l.mu.Lock()
		if !l.over {
			l.acked = append(l.acked, u)
		}
		l.mu.Unlock()
	}
}

// watch reads the run's stream of events until it breaks.
func (l *load) watch(url string) {
	m := addressInText.FindStringSubmatch(url)
	if m == nil {
		return
	}
	request, err := http.NewRequest(http.MethodGet, m[1]+"/events", nil)
	if err != nil {
		return
	}
	request.Header.Set("Authorization", "Bearer "+m[2])
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 2<<20)
	id, data, event := int64(0), "", ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			id, _ = strconv.ParseInt(value, 10, 64)
		case "data":
			data = value
		case "event":
			event = value
		case "": // which ends it
			if data != "" && event == "" {
				l.mu.Lock()
				l.shown[id] = data
				l.mu.Unlock()
			}
			data, event = "", ""
		}
	}
}

// An obsrun that is killed at any moment leaves every line that it had acknowledged
// or shown to anybody, a journal that can be read, and nothing that still runs.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	var acked, shown, torn, early atomic64
	var wg sync.WaitGroup
	for worker := range 2 {
		wg.Go(func() {
			for i := worker; i < kills && !t.Failed(); i += 2 {
				t.Run(strconv.Itoa(i), func(t *testing.T) {
					rnd := rand.New(rand.NewPCG(1, uint64(i)))
					switch i % 10 {
					case 0, 1:
						early.add(killStarting(t, rnd))
					default:
						a, s, cut := killLoaded(t, rnd, i%10 > 7)
						acked.add(a)
						shown.add(s)
						torn.add(cut)
					}
				})
			}
		})
	}
	wg.Wait()
	t.Logf("%d agents acknowledged, %d lines shown, %d last lines torn, %d of %d killed before there was a journal",
		acked.n, shown.n, torn.n, early.n, kills/5)
	assert.Positive(t, acked.n)
	assert.Positive(t, shown.n)
}

// atomic64 is a sum that several goroutines add to.
type atomic64 struct {
	mu sync.Mutex
	n  int
}

func (a *atomic64) add(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n += n
}

// killStarting kills an obsrun that is about to start, or has just done so.
func killStarting(t *testing.T, rnd *rand.Rand) (early int) {
	h := hold(t, t.TempDir(), "exit 5")
	time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
	require.NoError(t, h.cmd.Process.Kill())
	h.wait()
	h.gone()
	found, err := filepath.Glob(filepath.Join(h.dir, "logs", "*-*", "telemetry.jsonl"))
	require.NoError(t, err)
	if len(found) == 0 {
		return 1
	}
	require.Len(t, found, 1)
	lines, _ := journalLines(t, found[0])
	for _, line := range lines {
		assert.True(t, json.Valid([]byte(line)), line)
	}
	summary, words, status := reported(t, filepath.Dir(found[0]))
	if len(lines) == 0 {
		assert.Equal(t, 125, status, words)
		assert.Contains(t, words, "is empty")
		return 1
	}
	require.Zero(t, status, words)
	assert.Equal(t, "interrupted", summary.Status)
	return 0
}

// killLoaded kills an obsrun under load or, ending, while its child ends.
func killLoaded(t *testing.T, rnd *rand.Rand, ending bool) (acked, shown, torn int) {
	h := hold(t, t.TempDir(), "exit 5").up()
	l := &load{socket: h.socket, shown: make(map[int64]string)}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for c := range 3 {
		own := rand.New(rand.NewPCG(rnd.Uint64(), uint64(c)))
		clients.Go(func() { l.client(fmt.Sprintf("c%d", c), own, stop) })
	}
	clients.Go(func() { l.watch(h.url) })
	if ending {
		time.Sleep(20 * time.Millisecond)
		h.release()
	}
	time.Sleep(time.Duration(rnd.IntN(80_000)) * time.Microsecond)
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	require.NoError(t, h.cmd.Process.Kill())
	status := h.wait()
	close(stop)
	clients.Wait()
	h.gone()

	lines, torn := journalLines(t, run.JournalPath(h.runDir))
	next := make(map[string]int) // the next value of tokens, by span
	for i, line := range lines {
		var e struct {
			Event, Source string
			SpanID        string `json:"span_id"`
			Tokens        int
		}
		require.NoError(t, json.Unmarshal([]byte(line), &e), "line %d: %q", i+1, line)
		if e.Source != "socket" {
			continue
		}
		require.Equal(t, next[e.SpanID], e.Tokens, "line %d: what a connection said is there without a gap", i+1)
		next[e.SpanID]++
	}
	for _, u := range l.acked {
		require.Equal(t, u.updates+2, next[u.span], "%s was acknowledged", u.span)
	}
	for id, line := range l.shown {
		require.LessOrEqual(t, id, int64(len(lines)), "line %d was shown: %s", id, line)
		require.Equal(t, lines[id-1], line+"\n", "line %d was shown", id)
	}

	summary, words, code := reported(t, h.runDir)
	require.Zero(t, code, words)
	assert.Equal(t, torn > 0, strings.Contains(words, "ends in half a line"), words)
	if status < 0 {
		// It may have been killed when all was said already.
		assert.Contains(t, []string{"interrupted", "error"}, summary.Status)
	}
	agents := make(map[string]int64)
	for _, a := range summary.Agents {
		if a.Status == "done" {
			agents[a.ID] = a.Tokens
		}
	}
	for _, u := range l.acked {
		require.EqualValues(t, u.updates+1, agents[u.span], u.span)
	}
	info, err := os.Stat(run.SummaryPath(h.runDir))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	if torn > 0 {
		torn = 1
	}
	return len(l.acked), len(l.shown), torn
}
