package otlp

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// Metrics are accepted and, with few exceptions, dropped: they say nothing of
// single spans. What counts tokens or cost is added up, and used only when the
// run ends and neither a span nor a log record from the same sender told tokens:
// until then nobody can know that none will. It then becomes one span of kind
// llm for each sender, below no agent, so that the fold takes its tokens only
// where no other source reported any.

// metricRow says what a metric counts.
type metricRow struct {
	convention string
	name       string
	// typeKey is the attribute that tells the measure, with its values in types;
	// where it is empty the metric itself has the measure.
	typeKey string
	types   map[string]measure
	measure measure
	apart   bool // as in usageRow
}

var metricRows = []metricRow{
	{claudeCode, "claude_code.token.usage", "type", map[string]measure{"input": input, "output": output, "cacheRead": cacheRead, "cacheCreation": cacheWrite}, 0, true},
	{claudeCode, "claude_code.cost.usage", "", nil, cost, false},
	{genAI, "gen_ai.client.token.usage", "gen_ai.token.type", map[string]measure{"input": input, "output": output, "completion": output}, 0, false},
	{genAI, "gen_ai.client.inference.usage.input_tokens", "", nil, input, false},
	{genAI, "gen_ai.client.inference.usage.output_tokens", "", nil, output, false},
	{genAI, "gen_ai.client.inference.usage.cache_read.input_tokens", "", nil, cacheRead, false},
	{geminiCLI, "gemini_cli.token.usage", "type", map[string]measure{"input": input, "output": output, "cache": cacheRead, "thought": output}, 0, false},
}

// preferred are metrics that say what another one says too.
var preferred = map[string]string{"gen_ai.client.token.usage": "gemini_cli.token.usage"}

// series is one metric of one sender with one set of attributes.
type series struct {
	row         *metricRow
	sender      []string // see origins
	service     string
	measure     measure
	sum         float64
	first, last uint64 // Unix nanoseconds
}

const maxSeries = 1 << 12

// pointBatch is the data points of one request that count tokens or cost.
type pointBatch struct {
	points []point
}

// point is a data point of a sum, or of a histogram by its sum.
type point struct {
	row        *metricRow
	from       *sender
	cumulative bool
	attrs      attributes
	labels     []string // its attributes as they came
	start, at  uint64   // Unix nanoseconds
	value      float64
	hasNoValue bool
}

// read takes in MetricsData.
func (b *pointBatch) read(body string) error {
	f := fields{rest: body}
	for f.next() {
		if f.tag != tagOf(1, bytesType) {
			continue
		}
		if err := eachItem(f.data, func(from *sender, _ *string, message string) error { return b.readMetric(from, message) }); err != nil {
			return err
		}
	}
	return f.err()
}

// pointTags are the fields of a data point, which differ with the sort of metric.
type pointTags struct{ attrs, double, int uint64 }

var (
	numberTags      = pointTags{tagOf(7, bytesType), tagOf(4, fixed64), tagOf(6, fixed64)}
	histogramTags   = pointTags{tagOf(9, bytesType), tagOf(5, fixed64), 0}
	exponentialTags = pointTags{tagOf(1, bytesType), tagOf(5, fixed64), 0}
)

func (b *pointBatch) readMetric(from *sender, message string) error {
	name, _ := descend(message, 1)
	i := slices.IndexFunc(metricRows, func(row metricRow) bool { return row.name == name })
	f := fields{rest: message}
	for f.next() {
		var tags *pointTags
		switch f.tag {
		case tagOf(7, bytesType):
			tags = &numberTags
		case tagOf(9, bytesType):
			tags = &histogramTags
		case tagOf(10, bytesType):
			tags = &exponentialTags
		}
		if tags == nil || i < 0 {
			continue
		}
		if err := b.readPoints(point{row: &metricRows[i], from: from}, f.data, tags); err != nil {
			return err
		}
	}
	return f.err()
}

// readPoints takes in a Sum, Histogram or ExponentialHistogram.
func (b *pointBatch) readPoints(like point, message string, tags *pointTags) error {
	const cumulative = 2 // AGGREGATION_TEMPORALITY_CUMULATIVE
	begin := len(b.points)
	f := fields{rest: message}
	for f.next() {
		switch f.tag {
		case tagOf(1, bytesType):
			if len(b.points) == maxItems {
				return errTooMany
			}
			p := like
			if err := p.read(f.data, tags); err != nil {
				return err
			}
			b.points = append(b.points, p)
		case tagOf(2, varintType):
			like.cumulative = f.num == cumulative
		}
	}
	for i := range b.points[begin:] {
		b.points[begin+i].cumulative = like.cumulative
	}
	return f.err()
}

func (p *point) read(message string, tags *pointTags) error {
	p.hasNoValue = tags != &numberTags
	f := fields{rest: message}
	for f.next() {
		switch f.tag {
		case tagOf(2, fixed64):
			p.start = f.num
		case tagOf(3, fixed64):
			p.at = f.num
		case tags.double:
			p.value, p.hasNoValue = math.Float64frombits(f.num), false
		case tags.int:
			p.value, p.hasNoValue = float64(int64(f.num)), false // #nosec G115 -- two's complement
		case tags.attrs:
			if len(p.labels) == maxItems {
				return errTooMany
			}
			p.labels = append(p.labels, f.data)
			if err := p.attrs.read(f.data); err != nil {
				return err
			}
		}
	}
	return f.err()
}

// takeMetrics keeps what counts tokens.
func (r *Receiver) takeMetrics(b *pointBatch) result {
	for i := range b.points {
		r.takePoint(&b.points[i])
	}
	return result{}
}

func (r *Receiver) takePoint(p *point) {
	row := p.row
	m := row.measure
	if row.typeKey != "" {
		var ok bool
		if m, ok = row.types[p.attrs.text(row.typeKey)]; !ok {
			return
		}
	}
	if p.hasNoValue || !(p.value >= 0 && p.value <= telemetry.MaxCount) {
		return
	}
	sender := origins(&p.attrs, &p.from.attrs)
	key := row.name + "\x00" + strings.Join(sender, "\x00") + "\x00" + idOf(strings.Join(slices.Sorted(slices.Values(p.labels)), "\x00"))
	if p.cumulative { // a new start is a new series of the same counter
		key += fmt.Sprint("\x00", p.start)
	}
	s := r.mem.series[key]
	if s == nil {
		if len(r.mem.series) >= maxSeries {
			return
		}
		s = &series{row: row, sender: sender, service: strings.Clone(p.from.service), measure: m, first: p.start}
		r.mem.series[key] = s
	}
	switch {
	case p.cumulative:
		s.sum = max(s.sum, p.value)
	case p.at > s.last || p.at == 0: // an equal time is the same point once more
		s.sum += p.value
	}
	s.last = max(s.last, p.at)
}

// meter tells of the tokens that only metrics counted.
func (r *Receiver) meter() {
	type sums struct {
		n           [measures]float64
		has         [measures]bool
		service     string
		apart       bool
		first, last uint64
	}
	bySender := make(map[string]*sums)
	rows := make(map[string]bool) // sender and metric
	for _, s := range r.mem.series {
		rows[s.sender[0]+"\x00"+s.row.name] = true
	}
	for _, s := range r.mem.series {
		if _, told := r.mem.sources[s.sender[0]]; told {
			continue
		}
		if other := preferred[s.row.name]; other != "" && rows[s.sender[0]+"\x00"+other] {
			continue
		}
		sum := bySender[s.sender[0]]
		if sum == nil {
			sum = &sums{service: s.service, first: s.first}
			bySender[s.sender[0]] = sum
		}
		sum.n[s.measure] += s.sum
		sum.has[s.measure] = true
		sum.apart = sum.apart || s.row.apart
		if s.first != 0 && (sum.first == 0 || s.first < sum.first) {
			sum.first = s.first
		}
		sum.last = max(sum.last, s.last)
	}
	for _, sender := range slices.Sorted(maps.Keys(bySender)) {
		sum := bySender[sender]
		c, ok := resolve(sum.n, sum.has, sum.apart)
		if !ok {
			continue
		}
		name := "metrics"
		if sum.service != "" {
			name = sum.service + " (metrics)"
		}
		id := idOf("metrics " + sender)
		r.emit(telemetry.Event{
			Type: telemetry.SpanStart, Source: telemetry.SourceOTLP, SpanID: id, Kind: telemetry.KindLLM, Name: name,
			TS: seconds(sum.first), Attrs: telemetry.Attrs(map[string]any{"from": "metrics"}),
		}, telemetry.Event{
			Type: telemetry.SpanEnd, Source: telemetry.SourceOTLP, SpanID: id, Status: telemetry.StatusOK,
			TS: seconds(sum.last), Counters: c,
		})
	}
}
