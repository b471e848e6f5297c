package main

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		values []float64
		share  float64
		want   float64
	}{
		{nil, 0.5, math.NaN()},
		{[]float64{7}, 0.5, 7},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{1, 2, 3, 4, 5}, 0.99, 4.96},
		{[]float64{1, 2, 3}, 1, 3},
		{[]float64{1, 2, 3}, 0, 1},
	} {
		got := quantile(c.values, c.share)
		if math.Abs(got-c.want) > 1e-9 || math.IsNaN(got) != math.IsNaN(c.want) {
			t.Errorf("quantile(%v, %v) = %v, want %v", c.values, c.share, got, c.want)
		}
	}
	values := []float64{3, 1, 2}
	if median(values); values[0] != 3 {
		t.Error("median sorts what belongs to its caller")
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		line line
		want string
	}{
		{line{ours: []float64{5}, theirs: []float64{2}, goal: atMost(2.5)}, "yes"},
		{line{ours: []float64{5.1}, theirs: []float64{2}, goal: atMost(2.5)}, "NO"},
		{line{ours: []float64{9}, theirs: []float64{10}, goal: atLeast(0.9)}, "yes"},
		{line{ours: []float64{8}, theirs: []float64{10}, goal: atLeast(0.9)}, "NO"},
		{line{ours: []float64{8}, theirs: nil, goal: atLeast(0.9)}, "-"},
		{line{ours: []float64{8}, goal: within(8)}, "yes"},
		{line{ours: []float64{8}, goal: beyond(9)}, "NO"},
		{line{ours: nil, goal: within(8)}, "-"},
		{line{ours: []float64{8}, theirs: []float64{10}}, "-"},
		// One slow round moves no median.
		{line{ours: []float64{1, 1, 50}, theirs: []float64{1, 1, 1}, goal: atMost(1)}, "yes"},
	} {
		if got := c.line.verdict(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.line, got, c.want)
		}
	}
}

func TestInTurn(t *testing.T) {
	var order []string
	takes := func(name string) contender {
		return contender{name, func() (sample, error) {
			order = append(order, name)
			return sample{"n": float64(len(order))}, nil
		}}
	}
	b := &bench{rounds: 2}
	got, err := b.inTurn(takes("a"), takes("b"), contender{name: "absent"})
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(order, ""); all != "abbaab" && all != "abbaba" {
		t.Errorf("order %s", all)
	}
	if len(got[0].of("n")) != 2 || len(got[1].of("n")) != 2 || got[2] != nil || got[0].of("m") != nil {
		t.Errorf("samples %v", got)
	}
	failing := contender{"c", func() (sample, error) { return nil, errors.New("broken") }}
	if _, err := b.inTurn(failing); err == nil || err.Error() != "c: broken" {
		t.Errorf("error %v", err)
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	err := table(&out, []result{
		{row{name: "speed"}, []line{
			{what: "wall", unit: "ms", ours: []float64{2, 4, 6}, peer: "cat", theirs: []float64{8}, goal: atMost(0.6)},
			{what: "memory", unit: "MB", ours: []float64{30}, goal: within(25)},
			{what: "CPU", unit: "ms", ours: []float64{1}, peer: "dog", goal: atMost(1)},
		}, nil},
		{row{name: "room"}, nil, errors.New("no space")},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"row what obsrun peer theirs ratio goal met",
		"speed wall 4 ms (2) cat 8 ms (0) 0.5 <= 0.6 x yes",
		"speed memory 30 MB (0) - - <= 25 MB NO",
		"speed CPU 1 ms (0) dog not installed - <= 1 x -",
		"room not measured: no space",
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, line := range lines {
		if got := strings.Join(strings.Fields(line), " "); i >= len(want) || got != want[i] {
			t.Errorf("line %d: %q", i, got)
		}
	}
}
