package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestGantt(t *testing.T) {
	at := func(ms int64) *int64 { return &ms }
	s := Summary{TotalWallMS: 1000,
		Phases: Phases{
			{Name: "first", StartMS: at(0), WallMS: 500},
			{Name: deepName, StartMS: at(500), WallMS: 500, Depths: Phases{{Name: "1", StartMS: at(500), WallMS: 500}}},
		},
		Agents: []Agent{
			{ID: "b", Name: "b", Phase: "first", Status: "done", StartMS: at(250), WallMS: 250},
			{ID: "a", Name: "a\n\x1b[1m魚", Phase: "first", Status: "error", StartMS: at(0), WallMS: 10},
			{ID: "c", Name: "c", Phase: "library_depth_1", Status: "lost", StartMS: at(500), WallMS: 500},
			{ID: "d", Name: "d", Status: "done", StartMS: at(900), WallMS: 100},
			{ID: "q", Name: "q", Status: "lost"},
		}}
	bar := func(from, to int) string {
		return "|" + strings.Repeat(" ", from) + strings.Repeat("█", to-from) + strings.Repeat(" ", ganttBar-to) + "|"
	}
	name := func(text string) string { return fmt.Sprintf("%-*s ", ganttName, text) }
	want := []string{
		name("first") + bar(0, 24) + " 500ms",
		name("  b") + bar(12, 24) + " 250ms",
		name("library_depth_n") + bar(24, 48) + " 500ms",
		name("library_depth_1") + bar(24, 48) + " 500ms",
		name("  c") + bar(24, 48) + " 500ms lost",
		name("  d") + bar(43, 48) + " 100ms",
	}
	got := Gantt(&s, 10)
	fish := got[1]
	assert.Equal(t, want, append(got[:1], got[2:]...))
	assert.Contains(t, fish, `  a\n\x1b[1m魚 `)
	assert.True(t, strings.HasSuffix(fish, bar(0, 1)+" 10ms error"))
	assert.Equal(t, ganttName+1, cells(fish[:strings.IndexByte(fish, '|')]))

	// What did not end well comes first, then what took longest.
	few := strings.Join(Gantt(&s, 2), "\n")
	assert.Contains(t, few, "\n  a")
	assert.Contains(t, few, "\nand 1 more phase\nand 2 more agents")
	assert.Empty(t, Gantt(&Summary{}, 3))
}
