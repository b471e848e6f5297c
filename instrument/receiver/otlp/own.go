package otlp

import (
	"encoding/hex"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// What another obsrun exports (package report/export) has attributes of obsrun's own
// beside those of the conventions, for what these have no words for: they say it
// better. obsrun.span_id is on all spans but the run's own and those of phases that
// only phase events told of; the consumption of these is what stands below them.

// own tells whether obsrun made the span.
func (s *span) own() bool { return s.attrs.has("obsrun.kind") }

// ownUsage is what a span of obsrun's consumed, all attempts and all below it.
func (s *span) ownUsage() (telemetry.Counters, bool) {
	c := s.usage
	if !s.attrs.has("obsrun.span_id") && (s.kind == telemetry.KindRun || s.kind == telemetry.KindPhase) {
		return telemetry.Counters{}, false
	}
	if n, ok := s.attrs.number("obsrun.tokens"); ok && !c.Tokens.OK {
		c.Tokens = telemetry.Int{N: int64(n), OK: true}
	}
	if n, ok := s.attrs.number("obsrun.tool_uses"); ok {
		c.ToolUses = telemetry.Int{N: int64(n), OK: true}
	}
	if usd, ok := s.attrs.number("obsrun.cost_usd"); ok {
		c.CostUSD = telemetry.F(usd)
	}
	return c, c != telemetry.Counters{}
}

// ownID is the id of the span that this is an attempt of: a later attempt has a link
// to the first.
func (s *span) ownID() string {
	for f := (fields{rest: s.message}); f.next(); {
		if f.tag != tagOf(13, bytesType) {
			continue
		}
		id, attrs := labelled(f.data, 4)
		if attrs.text("obsrun.link") == "first attempt" && validID(id, 8) {
			return hex.EncodeToString([]byte(id))
		}
	}
	return s.id
}

// ownEvents are the start and end of a span of obsrun's, as it knew them: what was
// lost has no end, and may never have begun.
func ownEvents(s *span, start, end telemetry.Event) []telemetry.Event {
	start.SpanID = s.ownID()
	end.SpanID = start.SpanID
	if ms, ok := s.attrs.number("obsrun.duration_ms"); ok {
		end.DurationMS = telemetry.F(ms)
	}
	switch s.attrs.text("obsrun.state") {
	case "cancelled":
		end.Status = telemetry.StatusCancelled
	case "lost":
		if s.start == s.end {
			start.Type = telemetry.SpanQueued
			return []telemetry.Event{start}
		}
		update := telemetry.Event{Type: telemetry.SpanUpdate, Source: end.Source, SpanID: end.SpanID, TS: end.TS, Counters: end.Counters}
		return []telemetry.Event{start, update}
	}
	return []telemetry.Event{start, end}
}
