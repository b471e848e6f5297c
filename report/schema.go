package report

import _ "embed" // of the schemas

// EventSchema is the JSON Schema (2020-12) of a line of telemetry.jsonl. It is
// stricter than Decode, which keeps a line whose optional fields do not fit: it
// says what to write, not all that is read.
//
//go:embed schema/telemetry.schema.json
var EventSchema []byte

// SummarySchema is the JSON Schema (2020-12) of run_summary.json. A newer obsrun
// may add fields, so further ones are allowed everywhere.
//
//go:embed schema/run_summary.schema.json
var SummarySchema []byte
