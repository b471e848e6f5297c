package gateway

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
)

// maxDecoded bounds what is unpacked of one answer: a small body can hold a very
// large one.
const maxDecoded = 64 << 20

// onlooker sees an answer as it passes.
type onlooker struct {
	write func([]byte)
	// close says that nothing more comes; then is called when all was looked at.
	close func(then func())
}

// onlook lets read see an answer in a content coding (RFC 9110, 8.4). False for
// one that cannot be unpacked here.
func onlook(coding string, read func([]byte)) (onlooker, bool) {
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "", "identity":
		return onlooker{write: read, close: func(then func()) { then() }}, true
	case "gzip", "x-gzip":
		return unpacked(gunzip, read), true
	case "deflate":
		return unpacked(inflate, read), true
	}
	return onlooker{}, false
}

// unpacked looks on from a goroutine of its own, which is behind by at most a few
// pieces.
func unpacked(unpack func(io.Reader) (io.Reader, error), read func([]byte)) onlooker {
	pieces := make(chan []byte, 32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			_ = recover() // a fault in here is none of the call's
			for range pieces {
			}
		}()
		r, err := unpack(&pieceReader{pieces: pieces})
		if err != nil {
			return
		}
		buffer := make([]byte, 16<<10)
		for left := maxDecoded; left > 0; {
			n, err := r.Read(buffer)
			read(buffer[:min(n, left)])
			left -= n
			if err != nil {
				return
			}
		}
	}()
	return onlooker{
		write: func(b []byte) { pieces <- bytes.Clone(b) },
		close: func(then func()) {
			close(pieces)
			go func() {
				<-done
				then()
			}()
		},
	}
}

func gunzip(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }

// inflate reads zlib data, as the standard says, or bare deflate data, as some
// servers send.
func inflate(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(r)
	head, err := buffered.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		return zlib.NewReader(buffered)
	}
	return flate.NewReader(buffered), nil
}

// pieceReader makes a byte stream of pieces. It reads single bytes too, so that
// what unpacks it takes no more than it needs, and is as quick as the stream.
type pieceReader struct {
	pieces <-chan []byte
	rest   []byte
}

func (p *pieceReader) fill() error {
	for len(p.rest) == 0 {
		b, ok := <-p.pieces
		if !ok {
			return io.EOF
		}
		p.rest = b
	}
	return nil
}

func (p *pieceReader) Read(b []byte) (int, error) {
	if err := p.fill(); err != nil {
		return 0, err
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

func (p *pieceReader) ReadByte() (byte, error) {
	if err := p.fill(); err != nil {
		return 0, err
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b, nil
}
