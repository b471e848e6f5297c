// Package instrument is the Go client for programs that run under obsrun: it
// tells obsrun what the program's agents do, as spans.
//
// Caveats first. Outside obsrun (no OBSRUN_SOCKET) there is no client, Start
// returns a nil *Span, and every call on it does nothing; the same holds when
// the socket cannot be reached or breaks. No call waits: an event is written at
// once where the socket takes it, and buffered (10,000 events or 4 MiB) where
// obsrun reads slowly. When the buffer is full new events are dropped, updates
// first and ends last, and the loss is reported as a log event. Go has no exit
// hook: what is still buffered when the program ends is lost unless Close was
// called, and only Close tells whether obsrun took everything. The counters of
// a span belong to the process that started it. A message or error is cut at
// 32 KiB, attributes at 512 KiB; an attribute that is not JSON becomes text.
// Maps given as attributes must not change during the call.
//
// Spans nest through context.Context:
//
//	defer instrument.Close()
//	ctx, span := instrument.Start(ctx, "encoding", instrument.Options{Kind: "library-analysis"})
//	err := analyze(ctx)
//	span.Use(instrument.Usage{Input: 40000, Output: 2100})
//	span.ToolUses(31)
//	span.End(err)
//
// It is no tracing library: it samples nothing, exports nowhere but to obsrun,
// and knows no links and no baggage.
package instrument
