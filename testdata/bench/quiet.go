package main

import (
	"context"
	"strings"
	"time"
)

// window is how long a run is watched for a sample: what it does when nothing happens
// comes back every second.
const window = 3 * time.Second

// quiet is what a run costs in which nothing happens, with a dashboard open.
var quiet = row{
	name: "quiet",
	work: "one dashboard open, no events, 3 s",
	run: func(b *bench) ([]line, error) {
		idle, err := b.opened(b.obsrun)
		if err != nil {
			return nil, err
		}
		defer idle.stop()
		runs := []*live{idle.live}
		if b.base != "" {
			base, err := b.opened(b.base)
			if err != nil {
				return nil, err
			}
			defer base.stop()
			runs = append(runs, base.live)
		}
		time.Sleep(3 * time.Second)
		all := b.watch(runs...)
		return b.beside([]line{
			{"CPU", "% of a core", all[0].of("CPU"), "", nil, within(0.3)},
			{"memory", "MB", all[0].of("memory"), "", nil, within(25)},
		}, all[0], all[len(all)-1], "CPU % of a core", "memory MB"), nil
	},
}

// dashboard is a run with one open.
type dashboard struct {
	*live
	cancel context.CancelFunc
}

func (d *dashboard) stop() {
	d.cancel()
	d.live.stop()
}

func (b *bench) opened(program string) (*dashboard, error) {
	l, err := b.startRun(program)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &dashboard{l, cancel}
	if _, err := listen(ctx, strings.Replace(l.env["OBSRUN_URL"], "/?", "/state?", 1), 1, false); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

// watch gives what programs take that go on side by side, window by window.
func (b *bench) watch(programs ...*live) []samples {
	all := make([]samples, len(programs))
	before := make([]float64, len(programs))
	for range b.rounds {
		for i, l := range programs {
			before[i], _ = l.used()
		}
		time.Sleep(window)
		for i, l := range programs {
			after, memory := l.used()
			all[i] = append(all[i], sample{"CPU": (after - before[i]) / ms(window) * 100, "memory": memory})
		}
	}
	return all
}

// processes is what it costs to watch a hundred of them.
var processes = row{
	name: "processes",
	work: "100 children that sleep, 3 s, above a quiet run beside it",
	run: func(b *bench) ([]line, error) {
		var runs []*live
		for _, children := range []int{100, 0} {
			l, err := b.startRun(b.obsrun)
			if err != nil {
				return nil, err
			}
			defer l.stop()
			runs = append(runs, l)
			for range children {
				if err := l.tell(`sleep 600 & pids="$pids $!"`); err != nil {
					return nil, err
				}
			}
		}
		time.Sleep(3 * time.Second)
		all := b.watch(runs...)
		err := runs[0].tell("kill $pids")
		with, without := all[0].of("CPU"), all[1].of("CPU")
		more := make([]float64, len(with))
		for i := range more {
			more[i] = with[i] - without[i]
		}
		return []line{{"CPU", "% of a core", more, "", nil, within(0.3)}}, err
	},
}
