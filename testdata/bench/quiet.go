package main

import (
	"context"
	"strings"
	"time"
)

// quiet is what a run costs in which nothing happens, with a dashboard open.
var quiet = row{
	name: "quiet",
	work: "one dashboard open, no events, 10 s",
	run: func(b *bench) ([]line, error) {
		all, err := b.inTurn(contender{"obsrun", func() (sample, error) {
			l, err := b.startRun(b.obsrun)
			if err != nil {
				return nil, err
			}
			defer l.stop()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if _, err := listen(ctx, strings.Replace(l.env["OBSRUN_URL"], "/?", "/state?", 1), 1, false); err != nil {
				return nil, err
			}
			time.Sleep(2 * time.Second)
			const watched = 10 * time.Second
			before, _ := l.used()
			time.Sleep(watched)
			after, memory := l.used()
			return sample{"CPU": (after - before) / ms(watched) * 100, "memory": memory}, nil
		}})
		if err != nil {
			return nil, err
		}
		return []line{
			{"CPU", "% of a core", all[0].of("CPU"), "", nil, within(0.3)},
			{"memory", "MB", all[0].of("memory"), "", nil, within(25)},
		}, nil
	},
}

// processes is what it costs to watch a hundred of them.
var processes = row{
	name: "processes",
	work: "100 children that sleep, 10 s, above a quiet run",
	run: func(b *bench) ([]line, error) {
		watch := func(children int) func() (sample, error) {
			return func() (sample, error) {
				l, err := b.startRun(b.obsrun)
				if err != nil {
					return nil, err
				}
				defer l.stop()
				for range children {
					if err := l.tell(`sleep 60 & pids="$pids $!"`); err != nil {
						return nil, err
					}
				}
				time.Sleep(3 * time.Second)
				const watched = 10 * time.Second
				before, _ := l.used()
				time.Sleep(watched)
				after, _ := l.used()
				_ = l.tell(`[ -z "$pids" ] || kill $pids`)
				return sample{"CPU": (after - before) / ms(watched) * 100}, nil
			}
		}
		all, err := b.inTurn(contender{"100", watch(100)}, contender{"none", watch(0)})
		if err != nil {
			return nil, err
		}
		with, without := all[0].of("CPU"), all[1].of("CPU")
		more := make([]float64, len(with))
		for i := range more {
			more[i] = with[i] - without[i]
		}
		return []line{{"CPU", "% of a core", more, "", nil, within(0.3)}}, nil
	},
}
