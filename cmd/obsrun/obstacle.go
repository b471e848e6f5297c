package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/obsrun/obsrun/instrument/receiver/gateway"
	"github.com/obsrun/obsrun/instrument/receiver/otlp"
	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
)

// scene is what decides which sources can tell of a run, and what stands in
// their way.
type scene struct {
	env    []string // as obsrun has it
	dir    string   // the working directory
	opt    *options
	plan   otlp.Plan
	failed map[string]error // the sources that could not be opened
}

// sources says of each source whether the run listens to it, and why.
func (sc *scene) sources() []run.Capture {
	noServer, notAsked, noHome := "", "it is on only where --gateway asks for it", ""
	if sc.opt.listen == "off" {
		noServer = "it is taken at the dashboard's address, and --listen is off"
	}
	metered := "LLM calls pass through it:"
	if sc.opt.gateway != nil {
		notAsked = ""
		for _, u := range sc.opt.gateway.upstreams {
			metered += " " + u.Provider + " to " + u.URL.Host + from(u.From) + ","
		}
	}
	if lookup(sc.env, "HOME") == "" {
		noHome = "it is looked for below HOME, which is not set"
	}
	exporters := "OpenTelemetry exporters are pointed at the dashboard's address"
	if len(sc.plan.Set) == 0 {
		exporters = "the receiver is there, but no exporter is pointed at it"
	}
	list := []run.Capture{
		{Source: telemetry.SourceSocket, Why: "programs that know obsrun find it in OBSRUN_SOCKET"},
		{Source: telemetry.SourceToolCalls, Why: "tool_calls.jsonl is followed in the run's directory and in logs/latest"},
		{Source: telemetry.SourceBurr, Hint: noHome, Why: "Burr's tracking logs below ~/.burr are followed"},
		{Source: telemetry.SourceOTLP, Hint: noServer, Why: exporters},
		{Source: telemetry.SourceGateway, Hint: notAsked, Why: strings.TrimSuffix(metered, ",")},
		{Source: telemetry.SourceProcess, Why: "the processes of the run are looked at once a second"},
	}
	for i := range list {
		c := &list[i]
		off := c.Hint
		switch err := sc.failed[c.Source]; {
		case slices.Contains(sc.opt.off, c.Source):
			off = "switched off by --source " + c.Source + "=off"
		case err != nil:
			off = "it could not be opened: " + err.Error()
		}
		c.Hint, c.On, c.Why = "", off == "", cmp.Or(off, c.Why)
	}
	return list
}

// from says who named an upstream.
func from(who string) string {
	switch who {
	case "default":
		return ""
	case "flag":
		return " (--gateway-upstream)"
	}
	return " (" + who + ")"
}

// obstacle is something in the environment that keeps a source from telling.
// Doctor says "CAUSE: REMEDY" of it before a run, and a run at its end "CAUSE and
// MISSED: REMEDY", with names of variables and never their values.
type obstacle struct {
	source string
	// stands tells whether it is there.
	stands func(sc *scene) bool
	cause  string
	missed string
	remedy string
	// subject is what it is about: of several about the same the first counts.
	subject string
}

const (
	noCall   = "no LLM call was seen"
	noExport = "nothing came by OTLP"
)

// obstacles are those that the receivers do not know of. They have notes of their
// own on what they were told to do: otlp.Plan, gateway.Notes.
var obstacles = []obstacle{
	{telemetry.SourceOTLP, is("OTEL_TRACES_SAMPLER", "always_off"),
		"OTEL_TRACES_SAMPLER is always_off", noExport, "SDKs that heed it make no spans; unset it", "sampler"},
	{telemetry.SourceOTLP, is("CLAUDE_CODE_ENABLE_TELEMETRY", "0", "false", "no", "off"),
		"CLAUDE_CODE_ENABLE_TELEMETRY is off and left alone", noExport, "Claude Code and the Claude Agent SDK export nothing; unset it", "claude"},
	{telemetry.SourceOTLP, is("GEMINI_TELEMETRY_ENABLED", "0", "false", "no", "off"),
		"GEMINI_TELEMETRY_ENABLED is off and left alone", noExport, "Gemini CLI exports nothing; unset it", "gemini"},
	{telemetry.SourceOTLP, proxied,
		"an HTTP proxy is set and NO_PROXY does not name 127.0.0.1", noExport, "an exporter may ask the proxy for obsrun's address; add 127.0.0.1 to NO_PROXY", "proxy"},
	{telemetry.SourceGateway, unmetered("openai", "OPENAI_BASE_URL"),
		"OPENAI_BASE_URL is set", noCall, "--gateway openai would meter {calls}, and pass them on to where it says", "openai"},
	{telemetry.SourceGateway, unmetered("openai", "OPENAI_API_BASE"),
		"OPENAI_API_BASE is set", noCall, "--gateway openai would meter {calls}, and pass them on to where it says", "openai"},
	{telemetry.SourceGateway, unmetered("openai", "OPENAI_API_KEY"),
		"OPENAI_API_KEY is set", noCall, "--gateway openai would meter {calls}", "openai"},
	{telemetry.SourceGateway, unmetered("anthropic", "ANTHROPIC_BASE_URL"),
		"ANTHROPIC_BASE_URL is set", noCall, "--gateway anthropic would meter {calls}, and pass them on to where it says", "anthropic"},
	{telemetry.SourceGateway, unmetered("anthropic", "ANTHROPIC_API_KEY"),
		"ANTHROPIC_API_KEY is set", noCall, "--gateway anthropic would meter {calls}", "anthropic"},
	{telemetry.SourceGateway, unmetered("anthropic", "ANTHROPIC_AUTH_TOKEN"),
		"ANTHROPIC_AUTH_TOKEN is set", noCall, "--gateway anthropic would meter {calls}", "anthropic"},
}

// is tells whether a variable has one of the values.
func is(name string, values ...string) func(*scene) bool {
	return func(sc *scene) bool {
		return slices.Contains(values, strings.ToLower(strings.TrimSpace(lookup(sc.env, name))))
	}
}

// unmetered tells whether a variable of a provider is set whose calls do not pass
// the gateway.
func unmetered(provider, name string) func(*scene) bool {
	return func(sc *scene) bool {
		return strings.TrimSpace(lookup(sc.env, name)) != "" && !sc.metered(provider)
	}
}

func (sc *scene) metered(provider string) bool {
	return sc.opt.gateway != nil && slices.ContainsFunc(sc.opt.gateway.upstreams, func(u gateway.Upstream) bool { return u.Provider == provider })
}

// proxied tells whether an exporter would ask a proxy for an address of this
// machine. With the gateway on, NO_PROXY is taken care of.
func proxied(sc *scene) bool {
	set := func(names ...string) string {
		for _, name := range names {
			if value := lookup(sc.env, name); value != "" {
				return value
			}
		}
		return ""
	}
	if sc.opt.gateway != nil || len(sc.plan.Set) == 0 || set("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy") == "" {
		return false
	}
	hosts := strings.FieldsFunc(set("no_proxy", "NO_PROXY"), func(r rune) bool { return r == ',' || r == ' ' })
	return !slices.Contains(hosts, "*") && !slices.Contains(hosts, "127.0.0.1") && !slices.Contains(hosts, "127.0.0.0/8")
}

// told is a sentence about a source.
type told struct {
	source, text string
	warning      bool // it loses something; else it is good to know
}

// warnings says what stands in the way, before a run.
func (sc *scene) warnings() []told {
	var list []told
	for _, note := range sc.notes(telemetry.SourceOTLP) {
		list = append(list, told{telemetry.SourceOTLP, note, true})
	}
	for _, note := range sc.notes(telemetry.SourceGateway) {
		list = append(list, told{telemetry.SourceGateway, note, true})
	}
	for _, o := range sc.standing() {
		remedy := strings.ReplaceAll(o.remedy, "{calls}", "LLM calls")
		list = append(list, told{o.source, o.cause + ": " + remedy, o.source != telemetry.SourceGateway})
	}
	return list
}

// hints gives, by source, the likely reasons why it stayed silent, after a run in
// which came was told.
func (sc *scene) hints(came []run.Capture) map[string]string {
	events, calls, tokens := make(map[string]int64), int64(0), int64(0)
	for _, c := range came {
		events[c.Source] += c.Events
		calls += c.LLMCalls
		tokens += c.Tokens
	}
	silent := map[string]bool{
		telemetry.SourceOTLP:    events[telemetry.SourceOTLP] == 0,
		telemetry.SourceGateway: calls == 0 && tokens == 0,
	}
	reasons := make(map[string][]string)
	for _, source := range slices.Sorted(maps.Keys(silent)) {
		if silent[source] {
			reasons[source] = sc.notes(source)
		}
	}
	for _, o := range sc.standing() {
		if silent[o.source] {
			remedy := strings.ReplaceAll(o.remedy, "{calls}", "them")
			reasons[o.source] = append(reasons[o.source], o.cause+" and "+o.missed+": "+remedy)
		}
	}
	hints := make(map[string]string)
	for source, list := range reasons {
		if len(list) > 0 {
			hints[source] = strings.Join(list, "; ")
		}
	}
	return hints
}

// standing are the obstacles that are there, to the sources that are not switched
// off on purpose.
func (sc *scene) standing() []obstacle {
	var there []obstacle
	for _, o := range obstacles {
		same := func(p obstacle) bool { return p.subject == o.subject }
		if sc.wanted(o.source) && o.stands(sc) && !slices.ContainsFunc(there, same) {
			there = append(there, o)
		}
	}
	return there
}

// wanted tells whether the source is one that could tell something, if the gateway
// could be asked for.
func (sc *scene) wanted(source string) bool {
	return !slices.Contains(sc.opt.off, source) && !(source == telemetry.SourceOTLP && sc.opt.listen == "off")
}

// notes are what a receiver itself says on what it was told to do.
func (sc *scene) notes(source string) []string {
	var notes []string
	switch {
	case !sc.wanted(source):
	case source == telemetry.SourceOTLP:
		notes = sc.plan.Notes
		if sc.plan.Targets != (otlp.Targets{}) {
			notes = notes[:len(notes)-1] // the last tells of the tee, which is no obstacle
		}
	case source == telemetry.SourceGateway && sc.opt.gateway != nil:
		notes = gateway.Notes(sc.opt.gateway.upstreams, sc.dir, sc.env)
	}
	return maskSecrets(notes)
}

// suggested are the notes on the gateway that the run would have if it were asked
// for where an obstacle says so.
func (sc *scene) suggested() []string {
	var names []string
	for _, o := range sc.standing() {
		if o.source == telemetry.SourceGateway {
			names = append(names, o.subject)
		}
	}
	upstreams, err := gateway.Upstreams(names, nil, sc.env)
	if err != nil {
		return nil
	}
	return maskSecrets(gateway.Notes(upstreams, sc.dir, sc.env))
}
