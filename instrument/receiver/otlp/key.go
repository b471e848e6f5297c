package otlp

import (
	"slices"
	"sync"
)

// keyID stands for a key of an attribute that something is read from.
type keyID uint8

// keySet is a set of keys.
type keySet [4]uint64

func (s *keySet) add(id keyID)      { s[id>>6] |= 1 << (id & 63) }
func (s *keySet) has(id keyID) bool { return s[id>>6]>>(id&63)&1 != 0 }

// meets tells whether the sets have a key in common.
func (s *keySet) meets(other *keySet) bool {
	return s[0]&other[0]|s[1]&other[1]|s[2]&other[2]|s[3]&other[3] != 0
}

// namedKeys are those that the code asks for by name; the others stand in tables.
var namedKeys = []string{
	"agent.name", "agent_id", "agent_type", "duration_ms", "error", "error.message", "error.type", "error_code", "error_message",
	"error_name", "error_type", "event.name", "exception.message", "exception.type", "function_name", "gen_ai.operation.name",
	"logfire.level_num", "logfire.msg_template", "logfire.pending_parent_id", "logfire.span_type", "model", "obsrun.component",
	"obsrun.cost_usd", "obsrun.duration_ms", "obsrun.kind", "obsrun.link", "obsrun.phase", "obsrun.span_id", "obsrun.state",
	"obsrun.tokens", "obsrun.tool_uses", "query_source", "request_id", "service.instance.id", "service.name", "session.id",
	"status_code", "subagent_type", "success", "tool_name", "tool_use_id", "total_tool_uses",
}

// keyIDs are all keys that anything is read from. An attribute with another key is
// content, or of no use here, and is not kept.
var keyIDs = sync.OnceValue(func() map[string]keyID {
	ids := make(map[string]keyID)
	add := func(keys ...string) {
		for _, key := range keys {
			if _, ok := ids[key]; key != "" && !ok {
				ids[key] = keyID(len(ids)) // #nosec G115 -- a test counts them
			}
		}
	}
	add(namedKeys...)
	add(callIDs...)
	for _, row := range kinds {
		add(row.key)
		add(row.names...)
	}
	for _, row := range attrRows {
		add(row.keys...)
	}
	for _, row := range usageRows {
		add(row.key)
	}
	for _, row := range metricRows {
		add(row.typeKey)
	}
	for _, row := range logRows {
		add(row.when)
	}
	return ids
})

// keyed is a row of a table by the ids of its keys.
type keyed struct {
	ids []keyID
	any keySet // of them
}

func keyedBy(keys ...string) (k keyed) {
	for _, key := range keys {
		if id, ok := keyIDs()[key]; ok {
			k.ids = append(k.ids, id)
			k.any.add(id)
		}
	}
	k.ids = slices.Clip(k.ids)
	return k
}
