package export

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// parquetBatch is how many rows are handed over at once, parquetGroup how many are
// kept in memory and stand together in the file.
const (
	parquetBatch = 256
	parquetGroup = 100_000
)

// Parquet writes the spans as an Apache Parquet file (https://parquet.apache.org),
// compressed with Snappy: a row for each Row. The columns queued_ms, start_ms and
// end_ms are timestamps in UTC, text is UTF-8. The text is as it came: escape
// sequences in names too.
func Parquet(w io.Writer, r Run) error {
	out := parquet.NewGenericWriter[Row](w,
		parquet.Compression(&parquet.Snappy), parquet.CreatedBy("obsrun", r.Version, "parquet-go"),
		parquet.MaxRowsPerRowGroup(parquetGroup), parquet.KeyValueMetadata("obsrun.run_id", r.State.Info().RunID))
	batch := make([]Row, 0, parquetBatch)
	flush := func() error {
		_, err := out.Write(batch)
		batch = batch[:0]
		return err
	}
	for row := range rows(r.State) {
		if batch = append(batch, row); len(batch) == cap(batch) {
			if err := flush(); err != nil {
				return fmt.Errorf("write Parquet: %w", err)
			}
		}
	}
	if err := flush(); err != nil {
		return fmt.Errorf("write Parquet: %w", err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write Parquet: %w", err)
	}
	return nil
}
