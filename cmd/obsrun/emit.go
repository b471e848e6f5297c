package main

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

func emitCommand(w world) *cli.Command {
	return &cli.Command{
		Name: "emit", Usage: "send one telemetry event from a shell script",
		UsageText: "obsrun emit EVENT [key=value...]",
		Description: "Values that are JSON numbers, true or false are sent as such, the others as text,\n" +
			"and so is always what can be nothing but text, as span_id and message.\n" +
			"Outside a run it does nothing.",
		Action: func(c *cli.Context) error {
			line, err := eventLine(c.Args().Slice())
			if err != nil {
				return err
			}
			event, err := telemetry.DecodeClient(line)
			if err != nil {
				return usagef("emit: %v", err)
			}
			if !event.Type.Known() && lookup(w.env, "OBSRUN_SOCKET") != "" {
				say(w.stderr, "emit: obsrun knows no event %q; it is sent and kept, and means nothing. There are %s", event.Type, strings.Join(emitted(), ", "))
			}
			instrument.Emit(c.Context, event)
			_ = instrument.Close() // a script does not fail for its telemetry
			return nil
		},
	}
}

// emitted are the events that a client may send.
func emitted() []string {
	var names []string
	for _, spec := range telemetry.Specs() {
		if spec.Client {
			names = append(names, string(spec.Type))
		}
	}
	return names
}

// eventLine makes the event's line of EVENT and key=value operands.
func eventLine(operands []string) ([]byte, error) {
	if len(operands) == 0 || strings.Contains(operands[0], "=") {
		return nil, usagef("emit wants an EVENT first: obsrun emit span_start span_id=x kind=agent")
	}
	keys := []string{"event"}
	values := map[string]json.RawMessage{"event": quoteJSON(operands[0])}
	for _, operand := range operands[1:] {
		key, value, ok := strings.Cut(operand, "=")
		if !ok || key == "" {
			return nil, usagef("emit: %q is not key=value", operand)
		}
		if _, twice := values[key]; !twice {
			keys = append(keys, key)
		}
		if telemetry.IsText(key) {
			values[key] = quoteJSON(value)
		} else {
			values[key] = shellValue(value)
		}
	}
	var line bytes.Buffer
	for i, key := range keys {
		line.WriteByte("{,"[min(i, 1)])
		line.Write(quoteJSON(key))
		line.WriteByte(':')
		line.Write(values[key])
	}
	line.WriteByte('}')
	return line.Bytes(), nil
}

// shellValue is a number or a boolean where it reads as one in JSON, else text.
func shellValue(text string) json.RawMessage {
	switch {
	case text == "true", text == "false":
		return json.RawMessage(text)
	case text != "" && strings.ContainsRune("-0123456789", rune(text[0])) && json.Valid([]byte(text)):
		return json.RawMessage(text)
	}
	return quoteJSON(text)
}

func quoteJSON(text string) json.RawMessage {
	b, _ := json.Marshal(text) // a string can always be said
	return b
}
