package otlp

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"
)

// MaxBody is the largest body that is taken, in bytes, as it comes and once
// more after it was decompressed: the limit that the OTLP specification names.
const MaxBody = 64 << 20

// bodyPatience is how long a client may take to send its body, bodySilence how long
// it may send nothing of it: it has one of few places all the while.
const (
	bodyPatience = 30 * time.Second
	bodySilence  = 5 * time.Second
)

const (
	protobufType = "application/x-protobuf"
	jsonType     = "application/json"
)

// fault is a request that is refused: the HTTP status, and why.
type fault struct {
	status int
	reason string
}

func (f *fault) Error() string { return f.reason }

// mediaType tells JSON from protobuf.
func mediaType(r *http.Request) (isJSON bool, err error) {
	given := r.Header.Get("Content-Type")
	media := given
	if given != protobufType && given != jsonType {
		media, _, _ = mime.ParseMediaType(given)
	}
	switch media {
	case protobufType, "application/protobuf", "application/vnd.google.protobuf":
		return false, nil
	case jsonType:
		return true, nil
	}
	return false, &fault{http.StatusUnsupportedMediaType,
		fmt.Sprintf("Content-Type %q: only %s and %s are supported", cut(given, 100), protobufType, jsonType)}
}

// readBody gives the body as it came and decompressed, which are the same where
// it was not compressed. Neither is larger than limit.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, silence time.Duration) (raw, body string, err error) {
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	if encoding != "" && encoding != "identity" && encoding != "gzip" && encoding != "x-gzip" {
		return "", "", &fault{http.StatusUnsupportedMediaType,
			fmt.Sprintf("Content-Encoding %q: only gzip and identity are supported", cut(encoding, 100))}
	}
	if r.ContentLength > limit {
		return "", "", tooLarge(limit)
	}
	from := &prompt{Reader: r.Body, control: http.NewResponseController(w), silence: silence, until: time.Now().Add(bodyPatience)}
	if raw, err = readAll(from, limit, max(0, r.ContentLength)); err != nil {
		return "", "", err
	}
	if !strings.HasSuffix(encoding, "gzip") {
		return raw, raw, nil
	}
	body, err = gunzip(raw, limit)
	return raw, body, err
}

// prompt is a body whose client must go on sending.
type prompt struct {
	io.Reader
	control *http.ResponseController
	silence time.Duration
	until   time.Time
}

func (p *prompt) Read(b []byte) (int, error) {
	due := time.Now().Add(p.silence)
	if due.After(p.until) {
		due = p.until
	}
	_ = p.control.SetReadDeadline(due) // not every ResponseWriter has deadlines; the server's has
	return p.Reader.Read(b)
}

func gunzip(raw string, limit int64) (string, error) {
	zip, err := gzip.NewReader(strings.NewReader(raw))
	if err != nil {
		return "", &fault{http.StatusBadRequest, "decompress body: " + err.Error()}
	}
	body, err := readAll(zip, limit, 0)
	if err != nil {
		var f *fault
		if errors.As(err, &f) && f.status == http.StatusRequestEntityTooLarge {
			return "", err
		}
		return "", &fault{http.StatusBadRequest, "decompress body: " + err.Error()}
	}
	return body, nil
}

// pieces are what bodies are read into, piece by piece.
var pieces = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// readAll reads up to limit bytes, and is refused one more. Memory grows with
// what comes, not with what was announced.
func readAll(from io.Reader, limit, announced int64) (string, error) {
	piece := pieces.Get().(*[32 << 10]byte)
	defer pieces.Put(piece)
	var all strings.Builder
	if announced > int64(len(piece)) {
		all.Grow(int(min(announced, 1<<20)))
	}
	for {
		n, err := from.Read(piece[:])
		all.Write(piece[:n])
		switch {
		case int64(all.Len()) > limit:
			return "", tooLarge(limit)
		case err == io.EOF:
			return all.String(), nil
		case err != nil:
			return "", &fault{http.StatusBadRequest, "read body: " + err.Error()}
		}
	}
}

func tooLarge(limit int64) error {
	return &fault{http.StatusRequestEntityTooLarge,
		fmt.Sprintf("the body, after decompression, is larger than %d bytes: export smaller batches (OTEL_BSP_MAX_EXPORT_BATCH_SIZE)", limit)}
}
