package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// JSONL writes the spans as lines of JSON: an object for each Row, whose members
// stand in the order of the columns, all of them, null where nothing is known.
// Characters that a terminal would act on are \u escapes.
func JSONL(w io.Writer, r Run) error {
	names := columns()
	var line bytes.Buffer
	for row := range rows(r.State) {
		line.Reset()
		for i, cell := range row.cells() {
			separator := byte(',')
			if i == 0 {
				separator = '{'
			}
			line.WriteByte(separator)
			fmt.Fprintf(&line, "%q:", names[i])
			value, err := jsonCell(cell)
			if err != nil {
				return fmt.Errorf("write JSON lines: %w", err)
			}
			line.Write(value)
		}
		line.WriteString("}\n")
		if _, err := w.Write(line.Bytes()); err != nil {
			return fmt.Errorf("write JSON lines: %w", err)
		}
	}
	return nil
}

func jsonCell(cell any) ([]byte, error) {
	switch cell.(type) {
	case string, json.RawMessage:
		return compactJSON(cell)
	}
	return json.Marshal(cell)
}
