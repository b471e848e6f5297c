package instrument

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// contextKey is the key of the enclosing *Span in a context.
type contextKey struct{}

// Default is the client of the obsrun that started this process, as the
// environment names it: OBSRUN_SOCKET, OBSRUN_PARENT_SPAN, OBSRUN_RUN_ID. Nil
// outside obsrun.
func Default() *Client { return fromEnvironment() }

var fromEnvironment = sync.OnceValue(func() *Client {
	c := Dial(os.Getenv("OBSRUN_SOCKET"), os.Getenv("OBSRUN_PARENT_SPAN"))
	if c != nil {
		c.RunID = os.Getenv("OBSRUN_RUN_ID")
	}
	return c
})

// NewContext gives a context in which spans and events go to c rather than to
// Default.
func NewContext(ctx context.Context, c *Client) context.Context {
	return context.WithValue(ctx, contextKey{}, c.outermost())
}

// outermost is the span, started by another process, under which c's spans hang.
func (c *Client) outermost() *Span {
	if c == nil {
		return nil
	}
	return &Span{client: c, id: c.parent, outside: true}
}

// Current is the span in ctx; without one, that under which obsrun started this
// process. It can be updated, but the latter not be ended. Nil outside obsrun.
func Current(ctx context.Context) *Span {
	if s, ok := ctx.Value(contextKey{}).(*Span); ok {
		return s
	}
	return Default().outermost()
}

// Emit sends any event on behalf of the span in ctx, as Client.Emit does.
func Emit(ctx context.Context, e telemetry.Event) {
	if s := Current(ctx); s != nil {
		s.client.emit(e, s)
	}
}

// Log sends something that a person should read. Level: info, warn or error.
func Log(ctx context.Context, level, message string) {
	Emit(ctx, telemetry.Event{Type: telemetry.Log, Level: level, Message: message})
}

// Phase sends a phase boundary: "discovery" opens that phase, and
// "discovery-complete" closes it, with its wall time where it is not 0 and any
// counts.
func Phase(ctx context.Context, name string, wall time.Duration, counts map[string]float64) {
	e := telemetry.Event{Type: telemetry.Phase, Name: name, Counts: counts}
	if wall != 0 {
		e.WallMS = millis(wall)
	}
	Emit(ctx, e)
}

// Artifact tells that a file was produced. Kind analysis is counted among the
// analyses written.
func Artifact(ctx context.Context, path, kind string) {
	Emit(ctx, telemetry.Event{Type: telemetry.Artifact, Path: path, Kind: kind})
}

// Close flushes Default, as Client.Close does: defer it in main.
func Close() error { return Default().Close() }
