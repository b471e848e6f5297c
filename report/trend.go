package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Trend is one measure from run to run, the oldest first.
type Trend struct {
	Measure string       `json:"measure"`
	Points  []TrendPoint `json:"points"`
	// N is how many of the runs know the measure; the rest is 0 where none does.
	N      int     `json:"n"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`

	unit unit
}

// TrendPoint is one run of a trend.
type TrendPoint struct {
	RunID     string `json:"run_id"`
	Status    string `json:"status"`
	StartedAt string `json:"started_at"`
	// Value is null where the run does not know the measure.
	Value *float64 `json:"value"`
	// Percent is how far it is from the run before that knows it; null where there is
	// none, or that has 0.
	Percent *float64 `json:"percent"`
}

// TrendOf gives the measure of each run: the name of a total, or
// phases.NAME.MEASURE, as in a threshold.
func TrendOf(measureName string, runs []Summary) (Trend, error) {
	asked := Threshold{Measure: measureName}
	if err := asked.known(); err != nil {
		return Trend{}, err
	}
	t := Trend{Measure: measureName, Points: []TrendPoint{}}
	of := func(s *Summary) *float64 { return valueOf(*measureNamed(totalMeasures, measureName), s) }
	if phase, name, ok := asked.phase(); ok {
		m := measureNamed(phaseMeasures, name)
		t.unit = m.unit
		of = func(s *Summary) *float64 {
			if p, found := s.Phases.flat().Find(phase); found {
				return valueOf(*m, &p)
			}
			return nil
		}
	} else {
		t.unit = measureNamed(totalMeasures, measureName).unit
	}
	var values []float64
	for i := range runs {
		s := &runs[i]
		point := TrendPoint{RunID: s.RunID, Status: s.Status, StartedAt: s.StartedAt, Value: of(s)}
		if v := point.Value; v != nil {
			if n := len(values); n > 0 {
				_, point.Percent = difference(&values[n-1], v)
			}
			values = append(values, *v)
		}
		t.Points = append(t.Points, point)
	}
	sample := sampleOf(values)
	t.N, t.Median, t.Min, t.Max = sample.N, sample.Median, sample.Min, sample.Max
	return t, nil
}

func measureNamed[T any](measures []measure[T], name string) *measure[T] {
	i := slices.IndexFunc(measures, func(m measure[T]) bool { return m.name == name })
	return &measures[i]
}

// TrendText writes the trend as a table, the oldest run first, and as one line.
func TrendText(w io.Writer, t Trend, opt TextOptions) error {
	p := newPrinter(w, opt)
	p.line(fragment{t.Measure, bold}, fragment{"  " + some(int64(len(t.Points)), "run"), ""})
	if t.N > 0 {
		p.line(fragment{t.sparkline(), ""})
		p.line(fragment{fmt.Sprintf("median %s, from %s to %s", t.unit.text(t.Median), t.unit.text(t.Min), t.unit.text(t.Max)), ""})
	}
	p.text("")
	rows := table{columns: []column{
		{head: "RUN", flex: true, keep: 9},
		{head: "STARTED (UTC)", keep: 5},
		{head: "STATUS", keep: 4},
		{head: "VALUE", right: true, keep: 8},
		{head: "PERCENT", right: true, keep: 7},
		{head: "", keep: 6},
	}}
	for i := range t.Points {
		point := &t.Points[i]
		started := ""
		if at, err := time.Parse(time.RFC3339, point.StartedAt); err == nil {
			started = at.UTC().Format("2006-01-02 15:04:05")
		}
		value, percent, bar := fragment{"-", faint}, fragment{}, ""
		if point.Value != nil {
			value = fragment{t.unit.text(*point.Value), ""}
			bar = strings.Repeat("█", t.cells(*point.Value, barCells))
		}
		if point.Percent != nil {
			percent = fragment{percentage(point.Percent), ""}
		}
		rows.row(fragment{point.RunID, ""}, fragment{started, ""}, fragment{point.Status, statusStyle(point.Status)}, value, percent, fragment{bar, ""})
	}
	p.table(rows)
	return p.err
}

// cells is the length of a bar: its full width is the largest value, its beginning 0.
func (t *Trend) cells(v float64, width int) int {
	if t.Max <= 0 {
		return 0
	}
	return int(float64(width)*v/t.Max + 0.5)
}

// sparkline is the trend in one character a run: the lowest is the smallest value,
// the highest the largest, a blank is none.
func (t *Trend) sparkline() string {
	levels := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, point := range t.Points {
		switch {
		case point.Value == nil:
			b.WriteByte(' ')
		case t.Max == t.Min:
			b.WriteRune(levels[3])
		default:
			share := (*point.Value - t.Min) / (t.Max - t.Min)
			b.WriteRune(levels[min(len(levels)-1, int(share*float64(len(levels))))])
		}
	}
	return b.String()
}
