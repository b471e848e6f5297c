package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"

	"github.com/obsrun/obsrun/instrument/receiver/otlp"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
)

// settingsOf are the flags that are set by the command line, the environment and
// the file.
func settingsOf(c *cli.Context, w world) []report.Setting {
	settings := []report.Setting{}
	own, _, _ := splitCommand(w.args)
	from := make(map[string]string)
	for _, f := range runFlags() {
		name := f.Names()[0]
		given := slices.ContainsFunc(own, func(arg string) bool {
			return strings.HasPrefix(arg, "-") && slices.Contains(f.Names(), flagName(arg))
		})
		switch {
		case given:
			from[name] = "flag"
		case lookup(w.env, twin(name)[0]) != "":
			from[name] = twin(name)[0]
		default:
			continue
		}
		settings = append(settings, report.Setting{Name: name, From: from[name]})
	}
	var defaults map[string]any
	if text, err := readDefaults(); err != nil || yaml.Unmarshal(text, &defaults) != nil {
		return settings // what is wrong with it is told by whoever applies it
	}
	for _, f := range runFlags() {
		name := f.Names()[0]
		value, there := defaults[name]
		if !there {
			continue
		}
		s := report.Setting{Name: name, From: defaultsFile}
		switch above, against := from[name], from[opposite(name)]; {
		case above == "flag" || against == "flag":
			s.Ignored = "the command line says otherwise"
		case above != "" || against != "":
			s.Ignored = above + against + " is set"
		case value == nil:
			s.Ignored = "it has no value"
		}
		settings = append(settings, s)
	}
	return settings
}

// withoutSecrets is a URL without user and query.
func withoutSecrets(raw string) string {
	raw, _, _ = strings.Cut(maskSecrets([]string{raw})[0], "?")
	return raw
}

// gatewayAddress is what differs from run to run in the gateway's URLs.
var gatewayAddress = newPattern(`127\.0\.0\.1:\d+/[0-9a-f]{32}/`)

// environment says what becomes of it.
func (e *examination) environment(metered []string) {
	add := func(name, value, why string) {
		_, set := find(e.w.env, name)
		e.d.Environment = append(e.d.Environment, report.Variable{Name: name, Value: &value, Replaces: set, Why: why})
	}
	for _, v := range ownVariables {
		switch {
		case v.socket && e.scene.failed[telemetry.SourceSocket] != nil:
			continue
		case v.name == "OBSRUN_URL" && e.base == "":
			v.value = ""
		case v.name == "OBSRUN_URL":
			v.value = e.base + "/?token=TOKEN"
		case v.name == "OBSRUN_RUN_DIR":
			v.value = filepath.Join(e.d.LogDir.Path, "RUN_ID")
		}
		add(v.name, v.value, v.why)
	}
	plan := &e.scene.plan
	for _, v := range plan.Set {
		if v.Name == "OTEL_RESOURCE_ATTRIBUTES" && lookup(e.w.env, v.Name) != "" {
			v.Value = "(what is set)," + otlp.RunAttribute + "=RUN_ID"
		}
		add(v.Name, v.Value, v.Reason)
	}
	for _, variable := range metered {
		name, value, _ := strings.Cut(variable, "=")
		if strings.EqualFold(name, "NO_PROXY") {
			if lookup(e.w.env, "NO_PROXY")+lookup(e.w.env, "no_proxy") != "" {
				value = "(what is set),127.0.0.1"
			}
			add(name, value, "the gateway is not to be looked for behind the proxy")
			continue
		}
		add(name, gatewayAddress.ReplaceAllString(withoutSecrets(value), "127.0.0.1:PORT/TOKEN/"), "LLM calls pass the gateway")
	}
	if len(plan.Set) > 0 || len(plan.Notes) > 0 {
		e.leftAlone(plan)
	}
	for _, name := range notForChild() {
		_, set := find(e.w.env, name)
		given := slices.ContainsFunc(e.d.Environment, func(v report.Variable) bool { return v.Name == name })
		if set && !given {
			e.d.Removed = append(e.d.Removed, name)
		}
	}
}

// leftAlone names what the user has set that decides on OpenTelemetry.
func (e *examination) leftAlone(plan *otlp.Plan) {
	given := func(name string) bool {
		return slices.ContainsFunc(plan.Set, func(v otlp.Variable) bool { return v.Name == name })
	}
	leave := func(name, why string) {
		known := slices.ContainsFunc(e.d.LeftAlone, func(v report.Variable) bool { return v.Name == name })
		if _, set := find(e.w.env, name); set && !given(name) && !known {
			e.d.LeftAlone = append(e.d.LeftAlone, report.Variable{Name: name, Why: why})
		}
	}
	leave("OTEL_SDK_DISABLED", "it can turn OpenTelemetry off")
	for _, name := range []string{"OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"} {
		leave(name, "an SDK that reads the file heeds no other variable")
	}
	for _, signal := range []string{"", "TRACES_", "LOGS_", "METRICS_"} {
		for _, suffix := range []string{"ENDPOINT", "PROTOCOL", "HEADERS"} {
			leave("OTEL_EXPORTER_OTLP_"+signal+suffix, "what goes there goes there still")
		}
	}
	for _, sw := range otlp.Switches() {
		leave(sw.Name, "it is set already; it would be: "+sw.Reason)
		for _, entry := range e.w.env {
			if name, _, _ := strings.Cut(entry, "="); sw.Group != "" && strings.HasPrefix(name, sw.Group) {
				leave(name, "nothing that begins with "+sw.Group+" is touched where one is set")
			}
		}
	}
}

// find tells whether a variable is set, if only to nothing.
func find(env []string, name string) (value string, set bool) {
	return lookup(env, name), slices.ContainsFunc(env, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
}
