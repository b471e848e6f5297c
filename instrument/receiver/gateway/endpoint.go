package gateway

import "strings"

// endpoint is a kind of inference call.
type endpoint struct {
	suffix string // of the path
	name   string // as it is told
	// conversation: requests repeat their history, so they tell the agent.
	conversation bool
}

// endpoints are the calls that become spans, by how their path ends. Of two that
// fit the first counts.
var endpoints = []endpoint{
	{"/chat/completions", "chat.completions", true},
	{"/responses", "responses", true},
	{"/messages", "messages", true},
	{"/completions", "completions", false},
	{"/embeddings", "embeddings", false},
	{"/images/generations", "images.generations", false},
	{"/images/edits", "images.edits", false},
	{"/audio/transcriptions", "audio.transcriptions", false},
}

func endpointOf(method, path string) (endpoint, bool) {
	if method != "POST" {
		return endpoint{}, false
	}
	path = strings.TrimSuffix(path, "/")
	for _, e := range endpoints {
		if strings.HasSuffix(path, e.suffix) {
			return e, true
		}
	}
	return endpoint{}, false
}
