// Package telemetry is the schema: what an event is, which fields it has, how
// one line of telemetry.jsonl is read and written. It knows nothing of files,
// sockets or what events mean together; that is package run.
//
// Caveats first. Lines are kept byte for byte as their producer wrote them, so
// a reader must go by Decode, which matches keys exactly (encoding/json would
// match "EVENT" too) and takes the last of two equal keys. A value of the wrong
// type in an optional field is ignored, not an error: the line is still kept.
package telemetry
