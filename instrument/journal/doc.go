// Package journal is telemetry.jsonl as a file: one writer that appends whole
// lines, readers that give them back one by one, and a watch that says when a
// file may have grown.
//
// Caveats first. A line that was appended survives the death of any process,
// because write(2) has returned; it need not survive a power loss, because
// nothing is synced to the device. The package knows lines, not what stands in
// them: a line of NUL bytes, of half a character or of no JSON is given as it
// is. Neither Writer nor Reader is safe for concurrent use; one Writer and any
// number of Readers may work on the same file at once.
package journal
