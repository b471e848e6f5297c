package otlp

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// batch is the spans of one request, on the way to become events. It is used again
// for others: what events keep of it are strings alone, and attrs.
type batch struct {
	spans  []span
	order  []*span // by their start
	byID   map[uint64]*span
	walked map[uint64]struct{}
	list   []keyValue
	text   []byte
	res    result
	// sparse bodies are long for what they tell: events must not hold on to them.
	sparse bool
}

var batches = sync.Pool{New: func() any {
	return &batch{byID: make(map[uint64]*span), walked: make(map[uint64]struct{})}
}}

// maxKept is how many spans a batch has room for when it waits to be used again.
const maxKept = 4096

func (b *batch) release() {
	if cap(b.spans) > maxKept || cap(b.list) > 32*maxKept {
		return
	}
	clear(b.spans) // they hold on to the body
	clear(b.list)
	clear(b.order)
	clear(b.byID)
	clear(b.walked)
	b.spans, b.list, b.order, b.text, b.res = b.spans[:0], b.list[:0], b.order[:0], nil, result{}
	batches.Put(b)
}

// sparseFrom is the length of a body, in bytes a span, from which on it is not kept
// for the sake of its events.
const sparseFrom = 8 << 10

// maxItems bounds the items of a request, and the labels of a data point: empty ones are
// two bytes long, and what is made of each is a hundred times that.
const maxItems = 1 << 16

var errTooMany = &fault{http.StatusRequestEntityTooLarge,
	fmt.Sprintf("more than %d items: export smaller batches (OTEL_BSP_MAX_EXPORT_BATCH_SIZE)", maxItems)}

// readSpans takes in TracesData, or an ExportTraceServiceRequest, which is the same on
// the wire.
func (b *batch) readSpans(body string) error {
	f := fields{rest: body}
	for f.next() {
		if f.tag != tagOf(1, bytesType) {
			continue
		}
		err := eachItem(f.data, func(from *sender, _ *string, message string) error {
			begin := len(b.list)
			if len(b.spans) == maxItems {
				return errTooMany
			}
			b.spans = append(b.spans, span{from: from, attrs: attributes{list: b.list[begin:begin]}})
			s := &b.spans[len(b.spans)-1]
			valid, err := s.read(message)
			if err != nil {
				return err
			}
			if !valid {
				*s = span{} // it holds on to the body
				b.spans = b.spans[:len(b.spans)-1]
				b.res.reject("a span without a valid trace_id (16 bytes) and span_id (8 bytes), not all zero")
				return nil
			}
			b.keep(&s.attrs)
			return nil
		})
		if err != nil {
			return err
		}
	}
	b.sparse = len(body)/sparseFrom > len(b.spans)
	return f.err()
}

// keep takes note of the room that attributes took of the list, which they were given
// the end of.
func (b *batch) keep(a *attributes) {
	if begin := len(b.list); cap(a.list) == cap(b.list)-begin {
		b.list = b.list[:begin+len(a.list)]
	} else { // it did not suffice: they have their own, and the next begin a new one
		b.list = make([]keyValue, 0, 2*cap(b.list)+64)
	}
	a.list = slices.Clip(a.list)
}

// inOrder gives the spans by their start, described and with ids.
func (b *batch) inOrder() []*span {
	ids := make([]byte, 0, 32*len(b.spans))
	for i := range b.spans {
		s := &b.spans[i]
		s.describe()
		b.order = append(b.order, s)
		ids = appendID(appendID(ids, s.own64), s.up)
	}
	hexes := string(ids)
	for i := range b.spans {
		s := &b.spans[i]
		s.id = hexes[32*i : 32*i+16]
		if s.up != 0 {
			s.parent = hexes[32*i+16 : 32*i+32]
		}
	}
	byStart := func(x, y *span) int { return cmp.Compare(x.start, y.start) }
	if !slices.IsSortedFunc(b.order, byStart) {
		slices.SortStableFunc(b.order, byStart)
	}
	return b.order
}

func appendID(b []byte, id uint64) []byte {
	return hex.AppendEncode(b, []byte{byte(id >> 56), byte(id >> 48), byte(id >> 40), byte(id >> 32), byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)})
}

// span finds a span by its id, nil where the batch has none.
func (b *batch) span(id uint64) *span {
	if len(b.byID) == 0 {
		for _, s := range b.order {
			b.byID[s.own64] = s
		}
	}
	return b.byID[id]
}

// attrs makes the attrs of an event, nil where there are none.
func (b *batch) attrs(a *attributes, service string) json.RawMessage {
	const most = 512 // of bytes, for nearly all
	if cap(b.text)-len(b.text) < most {
		b.text = make([]byte, 0, max(most, min(64<<10, 128*len(b.spans)))) // what was made of the last one lives on
	}
	begin := len(b.text)
	b.text = appendAttrs(b.text, a, service)
	if len(b.text) == begin {
		return nil
	}
	return slices.Clip(json.RawMessage(b.text[begin:]))
}

// eachItem goes over the items of ResourceSpans, ResourceLogs or ResourceMetrics,
// which nest alike: the resource is field 1, items of a scope are field 2, and of
// these an item is field 2. Each comes with its resource and its group, in which the
// scope is field 1.
func eachItem(message string, item func(from *sender, group *string, message string) error) error {
	from := new(sender)
	outer := fields{rest: message}
	for outer.next() {
		if outer.tag != tagOf(1, bytesType) {
			continue
		}
		resource := fields{rest: outer.data}
		for resource.next() {
			if resource.tag == tagOf(1, bytesType) {
				if err := from.attrs.read(resource.data); err != nil {
					return err
				}
			}
		}
		if resource.bad {
			return errMalformed
		}
	}
	from.service = serviceOf(&from.attrs)
	outer = fields{rest: message}
	for outer.next() {
		if outer.tag != tagOf(2, bytesType) {
			continue
		}
		group := outer.data
		inner := fields{rest: group}
		for inner.next() {
			if inner.tag == tagOf(2, bytesType) {
				if err := item(from, &group, inner.data); err != nil {
					return err
				}
			}
		}
		if inner.bad {
			return errMalformed
		}
	}
	return outer.err()
}

// apart makes an event of texts of its own, for who keeps it longer than the body it
// was read from is worth.
func apart(e *telemetry.Event) {
	for _, text := range []*string{&e.SpanID, &e.Parent, &e.Component, &e.Name, &e.Kind, &e.Phase, &e.Error, &e.Message, &e.CallID} {
		*text = string([]byte(*text))
	}
}
