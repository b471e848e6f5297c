package otlp

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"

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

// takeMetrics keeps what counts tokens.
func (r *Receiver) takeMetrics(data *metrics.MetricsData) result {
	var res result
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rm := range data.ResourceMetrics {
		resource := attributesOf(rm.GetResource().GetAttributes())
		for _, sm := range rm.GetScopeMetrics() {
			for _, m := range sm.GetMetrics() {
				i := slices.IndexFunc(metricRows, func(row metricRow) bool { return row.name == m.GetName() })
				if i < 0 {
					continue
				}
				points, cumulative := pointsOf(m)
				for _, p := range points {
					r.takePoint(&metricRows[i], p, cumulative, resource)
				}
			}
		}
	}
	return res
}

// point is a data point of a sum, or of a histogram by its sum.
type point struct {
	attrs      []*common.KeyValue
	start, at  uint64
	value      float64
	hasNoValue bool
}

func pointsOf(m *metrics.Metric) (points []point, cumulative bool) {
	const isCumulative = metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
	switch d := m.GetData().(type) {
	case *metrics.Metric_Sum:
		for _, p := range d.Sum.GetDataPoints() {
			if p == nil {
				continue
			}
			value := p.GetAsDouble()
			if v, ok := p.GetValue().(*metrics.NumberDataPoint_AsInt); ok {
				value = float64(v.AsInt)
			}
			points = append(points, point{p.Attributes, p.StartTimeUnixNano, p.TimeUnixNano, value, false})
		}
		return points, d.Sum.GetAggregationTemporality() == isCumulative
	case *metrics.Metric_Histogram:
		for _, p := range d.Histogram.GetDataPoints() {
			if p != nil {
				points = append(points, point{p.Attributes, p.StartTimeUnixNano, p.TimeUnixNano, p.GetSum(), p.Sum == nil})
			}
		}
		return points, d.Histogram.GetAggregationTemporality() == isCumulative
	case *metrics.Metric_ExponentialHistogram:
		for _, p := range d.ExponentialHistogram.GetDataPoints() {
			if p != nil {
				points = append(points, point{p.Attributes, p.StartTimeUnixNano, p.TimeUnixNano, p.GetSum(), p.Sum == nil})
			}
		}
		return points, d.ExponentialHistogram.GetAggregationTemporality() == isCumulative
	}
	return nil, false
}

func (r *Receiver) takePoint(row *metricRow, p point, cumulative bool, resource attributes) {
	a := attributesOf(p.attrs)
	m := row.measure
	if row.typeKey != "" {
		var ok bool
		if m, ok = row.types[a.text(row.typeKey)]; !ok {
			return
		}
	}
	if p.hasNoValue || !(p.value >= 0 && p.value <= telemetry.MaxCount) {
		return
	}
	sender := origins(a, resource)
	key := row.name + "\x00" + strings.Join(sender, "\x00") + "\x00" + labels(p.attrs)
	if cumulative { // a new start is a new series of the same counter
		key += fmt.Sprint("\x00", p.start)
	}
	s := r.mem.series[key]
	if s == nil {
		if len(r.mem.series) >= maxSeries {
			return
		}
		s = &series{row: row, sender: sender, service: serviceOf(resource), measure: m, first: p.start}
		r.mem.series[key] = s
	}
	switch {
	case cumulative:
		s.sum = max(s.sum, p.value)
	case p.at > s.last || p.at == 0: // an equal time is the same point once more
		s.sum += p.value
	}
	s.last = max(s.last, p.at)
}

// labels identify a series among those of its metric.
func labels(list []*common.KeyValue) string {
	parts := make([]string, 0, len(list))
	for _, kv := range list {
		parts = append(parts, kv.GetKey()+"="+kv.GetValue().String())
	}
	slices.Sort(parts)
	return idOf(strings.Join(parts, "\x00"))
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
