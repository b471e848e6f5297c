package run

// Sample is what had been used up to a moment: Unix milliseconds, tokens, tool
// uses. As JSON it is an array of the three.
type Sample [3]int64

// Samples are the readings of usage over time, of agents by span id and of phases
// by name, each in order of time: what was known at a moment is its last sample up
// to then, and an agent that ended has its Usage from its end on. An agent that
// told of its usage only when it ended has none. Of each there are at most
// 64: from there on, the older the run, the wider apart they stand.
type Samples struct {
	Agents map[string][]Sample `json:"agents"`
	Phases map[string][]Sample `json:"phases"`
}

const (
	maxReadings = 64
	sampleStep  = 1000 // milliseconds, to begin with
)

// readings are the samples of one agent or phase: the last one of each step.
type readings struct {
	step    int64 // milliseconds
	samples []Sample
}

// put takes in what was used as of an event. Time does not go back: an event that
// comes out of order tells of what is known from the last one on.
func (r *readings) put(atMS int64, u *usage) {
	sample := Sample{atMS, max(0, u.n[tokens]), max(0, u.n[tools])}
	if r.step == 0 {
		r.step = sampleStep
	}
	if n := len(r.samples); n > 0 {
		last := &r.samples[n-1]
		if sample[1] == last[1] && sample[2] == last[2] {
			return
		}
		sample[0] = max(sample[0], last[0])
		if sample[0]/r.step == last[0]/r.step {
			*last = sample
			return
		}
	}
	r.samples = append(r.samples, sample)
	for len(r.samples) > maxReadings {
		r.step *= 2
		kept := r.samples[:0]
		for _, sample := range r.samples {
			if n := len(kept); n > 0 && kept[n-1][0]/r.step == sample[0]/r.step {
				kept[n-1] = sample
				continue
			}
			kept = append(kept, sample)
		}
		r.samples = kept
	}
}

// sample takes note of what an open agent has used by now.
func (s *State) sample(n *node) {
	if n.life != open || n.sort != anAgent {
		return
	}
	if n.readings == nil {
		n.readings = new(readings)
	}
	n.readings.put(s.at/1000, &n.total)
}

// Samples gives what is known of usage over time. It is as long as the run has
// agents, so it is asked for when it is needed and stands in no Delta.
func (s *State) Samples() Samples {
	all := Samples{Agents: make(map[string][]Sample), Phases: make(map[string][]Sample)}
	for _, n := range s.order {
		if n.readings != nil && n.counts() {
			all.Agents[n.id] = append([]Sample(nil), n.readings.samples...)
		}
	}
	for _, p := range s.phaseOrder {
		if len(p.readings.samples) > 0 {
			all.Phases[p.name] = append([]Sample(nil), p.readings.samples...)
		}
	}
	return all
}
