package main

import (
	"context"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument"
)

// environment is what the child sees: ours, without what is only for obsrun, and
// with where to send telemetry.
func (s *session) environment() []string {
	drop := notForChild()
	env := make([]string, 0, len(s.w.env)+len(drop))
	for _, entry := range s.w.env {
		if key, _, _ := strings.Cut(entry, "="); !slices.Contains(drop, key) {
			env = append(env, entry)
		}
	}
	env = append(env,
		"OBSRUN_RUN_ID="+s.dir.RunID,
		"OBSRUN_RUN_DIR="+s.dir.Path,
		"OBSRUN_URL="+s.url(),
	)
	env = s.plan.Apply(env)
	if s.gateway != nil {
		env = withVariables(env, s.gateway.Environment(env))
	}
	if s.socket == nil {
		return env
	}
	client := instrument.Dial(s.socket.Path, s.recorder.RootID())
	client.RunID = s.dir.RunID
	root := instrument.Current(instrument.NewContext(context.Background(), client))
	return append(append(env, "OBSRUN_SOCKET="+s.socket.Path), root.Env()...)
}

// notForChild are the variables that the child does not see as obsrun does.
func notForChild() []string {
	return append(twins(), "OBSRUN_SOCKET", "OBSRUN_RUN_ID", "OBSRUN_RUN_DIR", "OBSRUN_PARENT_SPAN", "OBSRUN_URL", "TRACEPARENT", "TRACESTATE")
}

// ownVariables are those that environment sets by itself, as doctor shows them. The
// socket's come with the socket.
var ownVariables = []struct {
	name, value, why string
	socket           bool
}{
	{"OBSRUN_RUN_ID", "RUN_ID", "the run's id", false},
	{"OBSRUN_RUN_DIR", "RUN_DIR", "the run's directory", false},
	{"OBSRUN_URL", "URL", "the dashboard, empty where it is off", false},
	{"OBSRUN_SOCKET", "SOCKET_PATH", "the telemetry socket, for programs that know obsrun", true},
	{"OBSRUN_PARENT_SPAN", "SPAN_ID", "the span under which spans belong", true},
	{"TRACEPARENT", "TRACE_CONTEXT", "the same span, for OpenTelemetry", true},
}

// withVariables sets variables, each in the place of all of its name: a program
// may take the first or the last of two.
func withVariables(env, set []string) []string {
	for _, variable := range set {
		key, _, _ := strings.Cut(variable, "=")
		env = slices.DeleteFunc(env, func(entry string) bool { return strings.HasPrefix(entry, key+"=") })
		env = append(env, variable)
	}
	return env
}

// lookup finds a variable in an environment, the last one as getenv(3) of most
// shells' children would.
func lookup(env []string, key string) string {
	value := ""
	for _, entry := range env {
		if k, v, ok := strings.Cut(entry, "="); ok && k == key {
			value = v
		}
	}
	return value
}
