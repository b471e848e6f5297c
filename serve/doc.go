// Package serve is the live view of a run over HTTP: the page, the journal's
// lines and the folded state as event streams, the run's files, and the guard
// before all of them. It answers for a run that lives, for one that another
// process still writes, for one that is over, and for all of a directory; what
// differs is the run.Feed.
//
// Caveats first. It reads and never writes an event. The guard keeps out web
// pages and other users of the machine who do not know the token. It does not
// keep out who can read the run directory, nor a program of another user that
// listens on the same loopback address and is visited by the same browser:
// cookies are not bound to ports. A subscriber is a cursor, not a queue: one that
// is too slow is sent larger and fewer deltas, and one that takes nothing for
// ten seconds is dropped and may resume. Nothing is compressed. A stream ends with its
// connection, so that one that was cut looks like one that ended, but for its last
// event, "end".
//
// What a client that listens costs: its connection is taken from net/http (wire), and
// of those that have caught up with the journal all are told by one goroutine (circle).
// Over TLS net/http keeps the connection, and the client a goroutine of its own.
//
// Routes, all GET or HEAD:
//
//	/                  the dashboard
//	/events            text/event-stream, one message a journal line
//	/state             the folded state as JSON, or as a stream of deltas, with an
//	                   event "last" about the run before this one
//	/samples           what agents and phases had used when, for a replay
//	/telemetry.jsonl   the run's files
//	/run_summary.json
//	/terminal.cast
//	/tool_calls.jsonl  an orchestrator's own log, where it writes one there
//	/terminal.js       the terminal emulator, for a page whose user opens it
//	/files             which of these there are: {"name": bytes}
//	/healthz           "ok", without a token
//
// Of a directory of runs (Config.Library) it answers with a list of them at "/",
// which is made of /runs and /compare?a=ID&b=ID, and has the routes above for
// each run below /runs/ID.
//
// Further routes (Config.Routes) stand behind the same guard.
package serve
