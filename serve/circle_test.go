package serve

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mouth is a connection that takes only so much without waiting.
type mouth struct {
	net.Conn // nil: nothing else is used
	mu       sync.Mutex
	room     int
	waited   int // writes that were let wait
	text     strings.Builder
	closed   chan struct{}
}

func (m *mouth) attempt(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(len(b), m.room)
	m.room -= n
	m.text.Write(b[:n])
	if n < len(b) {
		return n, syscall.EAGAIN
	}
	return n, nil
}

func (m *mouth) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waited++
	return m.text.Write(b)
}

func (m *mouth) Read([]byte) (int, error) { <-m.closed; return 0, net.ErrClosed }
func (m *mouth) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.closed:
	default:
		close(m.closed)
	}
	return nil
}
func (m *mouth) SetWriteDeadline(time.Time) error { return nil }

func (m *mouth) take() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := m.text.String()
	m.text.Reset()
	return text
}

// listening has a client follow the events of a view.
func listening(t *testing.T, v *view, all *wires, room int) *mouth {
	t.Helper()
	file, err := openRegular(v.dir, journalFile.name)
	require.NoError(t, err)
	m := &mouth{room: room, closed: make(chan struct{})}
	p := newPlace(v, file, mark{})
	w := &wire{conn: m, patience: time.Minute, all: all, attempt: m.attempt}
	p.stream, p.over = &stream{out: w, wire: w}, []func(){v.audience.enter(), v.tail.enter()}
	go v.attend(p)
	go v.catchUp(p)
	return m
}

// Who has caught up is told of each line without a goroutine of its own, of the same
// life signs as others, and of the end; whoever takes only a part of a line is sent the
// rest of it, and all that came meanwhile, and is in the circle again.
func TestCircle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, dir := record(t)
		v := newView(config(rec, dir), func(err error) { t.Error(err) })
		all := &wires{ctx: t.Context(), fault: v.fault}
		quick, slow := listening(t, v, all, 1<<30), listening(t, v, all, 70)
		synctest.Wait()
		assert.Len(t, v.circle.places, 2)
		for _, m := range []*mouth{quick, slow} {
			assert.Equal(t, 1, strings.Count(m.take(), "id: "))
			assert.Equal(t, 1, m.waited, "before it had caught up")
		}
		for range 10 {
			tell(t, rec, start("a"), start("b"))
			settle(t, rec)
			synctest.Wait()
			assert.Len(t, v.circle.places, 2)
		}
		assert.Equal(t, 1, quick.waited)
		assert.GreaterOrEqual(t, slow.waited, 11)
		text := quick.take()
		assert.Equal(t, 20, strings.Count(text, "\n\n"))
		assert.Equal(t, text, slow.take())

		for range 3 {
			time.Sleep(heartbeat)
			synctest.Wait()
			assert.Equal(t, string(signOfLife), quick.take())
			assert.Equal(t, string(signOfLife), slow.take())
		}

		tell(t, rec, start("c"))
		finish(t, rec)
		synctest.Wait()
		text = quick.take()
		assert.True(t, strings.HasSuffix(text, "event: end\ndata: {}\n\n"))
		assert.Equal(t, text, slow.take())
		assert.Empty(t, v.circle.places)
		assert.Zero(t, v.audience.busy)
		assert.Zero(t, v.tail.listeners)
	}) // which fails if a goroutine is left
}

// A client that leaves is gone at once, from the circle or not, and with the last one
// the circle stops.
func TestCircleIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, dir := record(t)
		v := newView(config(rec, dir), func(err error) { t.Error(err) })
		all := &wires{ctx: t.Context(), fault: v.fault}
		var clients []*mouth
		for range 5 {
			clients = append(clients, listening(t, v, all, 1<<30))
		}
		synctest.Wait()
		for i, m := range []*mouth{clients[1], clients[4], clients[0], clients[3], clients[2]} {
			tell(t, rec, start("a"))
			synctest.Wait()
			m.Close()
			synctest.Wait()
			assert.Len(t, v.circle.places, 4-i)
			assert.Equal(t, 4-i, v.audience.busy)
			assert.Equal(t, i+2, strings.Count(m.take(), "id: "), "all lines so far")
		}
		assert.Nil(t, v.tail.file)
		again := listening(t, v, all, 1<<30)
		synctest.Wait()
		tell(t, rec, start("a"))
		synctest.Wait()
		assert.Equal(t, 7, strings.Count(again.take(), "id: "))
		finish(t, rec)
	})
}

// A fault of ours ends the streams, and no more than them.
func TestCircleThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, dir := record(t)
		faults := make(chan error, 10)
		v := newView(config(rec, dir), func(err error) { faults <- err })
		all := &wires{ctx: t.Context(), fault: v.fault}
		whole, broken := listening(t, v, all, 1<<30), listening(t, v, all, 1<<30)
		synctest.Wait()
		v.circle.mu.Lock()
		for _, p := range v.circle.places {
			if p.stream.wire.conn == broken {
				p.stream.wire.attempt = func([]byte) (int, error) { panic("a fault") }
			}
		}
		v.circle.mu.Unlock()
		tell(t, rec, start("a"))
		synctest.Wait()
		assert.ErrorContains(t, <-faults, "a fault")
		<-whole.closed
		<-broken.closed
		assert.Zero(t, v.audience.busy)

		said := make(chan struct{})
		talker := &mouth{closed: make(chan struct{})}
		(&wire{conn: talker, all: all, over: func() { close(said) }}).talk(func(context.Context) { panic(errors.New("another")) })
		<-said
		<-talker.closed
		assert.ErrorContains(t, <-faults, "another")
		finish(t, rec)
	})
}
