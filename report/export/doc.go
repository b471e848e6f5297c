// Package export gives a run in the formats of others, one file for each.
//
// Caveats first. A format has what it has: what does not fit it is left out, or
// stands under a name that begins with obsrun. Nothing here decides what events
// mean; that was done by run.State.
//
// opentelemetry.go makes OpenTelemetry spans of a run's spans, otlpspan.go has what
// they look like on the wire and in JSON, and live.go sends them to a collector or
// backend while the run goes on, through otlpsender.go, which knows of batches and
// retries. It is no queue: it is a reader of the run's feed who goes no further while
// the endpoint takes nothing. OTLP has no updates, so a span goes out once, a moment
// after it ended; what is told of it later is not seen there.
//
// The other files write down a whole run, as format.go lists them: functions of the
// state, and of the recording of the terminal where they have it. What is looked at
// by people (csv, junit, markdown, chrome-trace) has the text of others made
// visible; what programs read (jsonl, parquet, otlp-json) has it as it came. csv,
// jsonl and parquet share their columns, which are those of Row.
package export
