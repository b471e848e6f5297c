package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obsrun/obsrun/instrument/receiver/gateway"
	"github.com/obsrun/obsrun/instrument/receiver/otlp"
	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/instrument/telemetry"
	"github.com/obsrun/obsrun/report"
)

// sceneOf is that of a run in an empty directory.
func sceneOf(t *testing.T, env []string, providers ...string) *scene {
	t.Helper()
	opt := &options{serving: serving{listen: "127.0.0.1:0"}}
	if len(providers) > 0 {
		upstreams, err := gateway.Upstreams(providers, nil, env)
		require.NoError(t, err)
		opt.gateway = &gatewayOptions{upstreams: upstreams}
	}
	at := otlp.Address{Endpoint: "http://127.0.0.1:1", Token: "t", RunID: "r"}
	return &scene{env: env, dir: t.TempDir(), opt: opt, plan: otlp.Environment(env, at, "")}
}

// Before a run and after it, the same is said of the same.
func TestObstacles(t *testing.T) {
	const canary = "canary-7c1f0a"
	meter := func(name, provider, rest string) (before, after string) {
		return name + " is set: --gateway " + provider + " would meter LLM calls" + rest,
			name + " is set and no LLM call was seen: --gateway " + provider + " would meter them" + rest
	}
	type row struct {
		env       []string
		providers []string
		source    string
		before    string // the beginning; empty: nothing stands in the way
		after     string
	}
	rows := map[string]row{
		"nothing":              {},
		"variables are empty":  {env: []string{"OPENAI_API_KEY=", "OTEL_CONFIG_FILE=", "OTEL_SDK_DISABLED=", "HTTP_PROXY="}},
		"SDK is not disabled":  {env: []string{"OTEL_SDK_DISABLED=false"}},
		"key and gateway":      {env: []string{"OPENAI_API_KEY=" + canary}, providers: []string{"openai"}},
		"telemetry is on":      {env: []string{"CLAUDE_CODE_ENABLE_TELEMETRY=1"}},
		"proxy, not for us":    {env: []string{"HTTP_PROXY=http://p:1", "NO_PROXY=localhost, 127.0.0.1"}},
		"proxy for nothing":    {env: []string{"http_proxy=http://p:1", "no_proxy=*"}},
		"an HTTP endpoint":     {env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://u:" + canary + "@collector:4318"}},
		"OTEL_SDK_DISABLED":    {env: []string{"OTEL_SDK_DISABLED=true"}, source: "otlp", before: "OTEL_SDK_DISABLED is set"},
		"OTEL_CONFIG_FILE":     {env: []string{"OTEL_CONFIG_FILE=" + canary}, source: "otlp", before: "OTEL_CONFIG_FILE is set"},
		"experimental":         {env: []string{"OTEL_EXPERIMENTAL_CONFIG_FILE=" + canary}, source: "otlp", before: "OTEL_EXPERIMENTAL_CONFIG_FILE is set"},
		"exporter none":        {env: []string{"OTEL_TRACES_EXPORTER=none"}, source: "otlp", before: "OTEL_TRACES_EXPORTER is"},
		"gRPC endpoint":        {env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://u:" + canary + "@collector:4317"}, source: "otlp", before: "the OTLP endpoint http://collector:4317 is over gRPC and left alone"},
		"sampler":              {env: []string{"OTEL_TRACES_SAMPLER=always_off"}, source: "otlp", before: "OTEL_TRACES_SAMPLER is always_off: ", after: "OTEL_TRACES_SAMPLER is always_off and nothing came by OTLP: "},
		"Claude Code is quiet": {env: []string{"CLAUDE_CODE_ENABLE_TELEMETRY=0"}, source: "otlp", before: "CLAUDE_CODE_ENABLE_TELEMETRY is off and left alone: ", after: "CLAUDE_CODE_ENABLE_TELEMETRY is off and left alone and nothing came by OTLP: "},
		"Gemini CLI is quiet":  {env: []string{"GEMINI_TELEMETRY_ENABLED=FALSE"}, source: "otlp", before: "GEMINI_TELEMETRY_ENABLED is off"},
		"proxy":                {env: []string{"http_proxy=http://" + canary}, source: "otlp", before: "an HTTP proxy is set and NO_PROXY does not name 127.0.0.1: ", after: "an HTTP proxy is set and NO_PROXY does not name 127.0.0.1 and nothing"},
		"bypass":               {env: []string{"CLAUDE_CODE_USE_BEDROCK=1"}, providers: []string{"anthropic"}, source: "gateway", before: "CLAUDE_CODE_USE_BEDROCK is set"},
	}
	for name, of := range map[string][3]string{
		"OPENAI_API_KEY": {"openai"}, "ANTHROPIC_API_KEY": {"anthropic"}, "ANTHROPIC_AUTH_TOKEN": {"anthropic"},
		"OPENAI_BASE_URL":    {"openai", ", and pass them on to where it says"},
		"ANTHROPIC_BASE_URL": {"anthropic", ", and pass them on to where it says"},
	} {
		r := row{env: []string{name + "=https://" + canary, strings.ToUpper(of[0]) + "_API_KEY=" + canary}, source: "gateway"}
		if strings.HasPrefix(name, "ANTHROPIC_AUTH") {
			r.env = r.env[:1]
		}
		r.before, r.after = meter(name, of[0], of[1])
		rows[name] = r
	}
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			sc := sceneOf(t, r.env, r.providers...)
			before, after := sc.warnings(), sc.hints(nil)
			if r.before == "" {
				assert.Empty(t, before)
				assert.Empty(t, after)
				return
			}
			require.Len(t, before, 1)
			require.Len(t, after, 1)
			assert.Equal(t, r.source, before[0].source)
			assert.True(t, strings.HasPrefix(before[0].text, r.before), before[0].text)
			if r.after == "" {
				r.after = r.before
			}
			assert.True(t, strings.HasPrefix(after[r.source], r.after), after[r.source])
			assert.NotContains(t, before[0].text+after[r.source], canary)
		})
	}
}

// Only what stayed silent has a reason for it.
func TestHintsAreForSilence(t *testing.T) {
	sc := sceneOf(t, []string{"OPENAI_API_KEY=x", "OTEL_TRACES_SAMPLER=always_off"})
	assert.Len(t, sc.hints(nil), 2)
	assert.Len(t, sc.hints([]run.Capture{{Source: "socket", Events: 3, Spans: 1}}), 2, "spans alone meter nothing")
	assert.Equal(t, []string{"otlp"}, keysOf(sc.hints([]run.Capture{{Source: "burr", Events: 3, Tokens: 1}})))
	assert.Equal(t, []string{"otlp"}, keysOf(sc.hints([]run.Capture{{Source: "tool_calls", Events: 3, LLMCalls: 1}})))
	assert.Equal(t, []string{"gateway"}, keysOf(sc.hints([]run.Capture{{Source: "otlp", Events: 3}})))
	sc.opt.off = []string{telemetry.SourceOTLP}
	assert.Equal(t, []string{"gateway"}, keysOf(sc.hints(nil)), "what is switched off is silent on purpose")
	sc.opt.off, sc.opt.listen = nil, "off"
	assert.Equal(t, []string{"gateway"}, keysOf(sc.hints(nil)))
}

func keysOf(m map[string]string) []string {
	keys := []string{}
	for key := range m {
		keys = append(keys, key)
	}
	return keys
}

func TestSourcesSayWhy(t *testing.T) {
	sc := sceneOf(t, []string{"HOME=/home/u", "OPENAI_BASE_URL=https://u:canary@llm.example/v1?key=canary"}, "openai")
	for _, c := range sc.sources() {
		assert.True(t, c.On, c.Source)
		assert.NotEmpty(t, c.Why)
		assert.Empty(t, c.Hint)
		assert.NotContains(t, c.Why, "canary")
		if c.Source == telemetry.SourceGateway {
			assert.Equal(t, "LLM calls pass through it: openai to llm.example (OPENAI_BASE_URL)", c.Why)
		}
	}
	sc = sceneOf(t, nil)
	sc.opt.off, sc.opt.listen = switchable, "off"
	sc.failed = map[string]error{telemetry.SourceSocket: os.ErrPermission}
	for _, c := range sc.sources() {
		assert.False(t, c.On, c.Source)
		assert.NotEmpty(t, c.Why)
	}
	sc.opt.off = nil
	why := make(map[string]string)
	for _, c := range sc.sources() {
		why[c.Source] = c.Why
	}
	assert.Contains(t, why[telemetry.SourceBurr], "HOME")
	assert.Contains(t, why[telemetry.SourceOTLP], "--listen is off")
	assert.Contains(t, why[telemetry.SourceSocket], "permission denied")
}

// A .env that comes with a checkout is told of where the gateway is on, and where
// it is the advice.
func TestDotEnvIsToldOf(t *testing.T) {
	sc := sceneOf(t, []string{"OPENAI_API_KEY=x"})
	require.NoError(t, os.WriteFile(filepath.Join(sc.dir, ".env"), []byte("OPENAI_BASE_URL=https://elsewhere.example/v1\n"), 0o600))
	require.Len(t, sc.suggested(), 1)
	assert.Contains(t, sc.suggested()[0], "https://elsewhere.example")
	on := sceneOf(t, nil, "openai")
	on.dir = sc.dir
	assert.Empty(t, on.suggested())
	require.Len(t, on.warnings(), 1)
	assert.Contains(t, on.warnings()[0].text, "https://elsewhere.example")
}

// diagnose runs obsrun doctor.
func diagnose(t *testing.T, dir string, env []string, args ...string) report.Diagnosis {
	t.Helper()
	stdout, stderr, _ := obsrunWith(t, dir, env, append([]string{"doctor", "--format", "json"}, args...)...)
	require.Empty(t, stderr)
	var d report.Diagnosis
	require.NoError(t, json.Unmarshal([]byte(stdout), &d))
	return d
}

// Doctor names the variables that a run then adds, replaces and takes away.
func TestDoctorKnowsTheEnvironment(t *testing.T) {
	env := []string{
		"OBSRUN_NAME=named", "OTEL_RESOURCE_ATTRIBUTES=team=canary-1", "OTEL_BSP_SCHEDULE_DELAY=9", "TRACESTATE=a=b",
		"OPENAI_BASE_URL=http://u:canary-2@llm.example/v1?key=canary-3", "HTTP_PROXY=http://canary-4", "NO_PROXY=canary-5",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://u:canary-6@127.0.0.1:9/?x=canary-7", "OTEL_EXPORTER_OTLP_HEADERS=k=canary-8",
	}
	for name, args := range map[string][]string{
		"as it is": nil, "gateway": {"--gateway", "openai,anthropic"}, "no dashboard": {"--listen", "off"}, "no OTLP": {"--source", "otlp=off"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := diagnose(t, dir, env, append(args, "--", "env")...)
			seen := childEnvironment(t, dir, env, args...)
			before := make(map[string]string)
			for _, entry := range append(os.Environ(), env...) {
				key, value, _ := strings.Cut(entry, "=")
				before[key] = value
			}
			given := make(map[string]bool)
			for _, v := range d.Environment {
				given[v.Name] = true
				require.NotNil(t, v.Value, v.Name)
				assert.Contains(t, seen, v.Name)
				assert.NotContains(t, *v.Value, "canary", v.Name)
				_, set := before[v.Name]
				assert.Equal(t, set, v.Replaces, v.Name)
				assert.NotEmpty(t, v.Why)
			}
			for key, value := range seen {
				if old, set := before[key]; key != detach && (!set || old != value) {
					assert.Contains(t, given, key)
				}
			}
			for key := range before {
				if _, still := seen[key]; !still && key != "_" {
					assert.Contains(t, d.Removed, key)
				}
			}
			text, _, _ := obsrunWith(t, dir, env, append(append([]string{"doctor"}, args...), "--", "env")...)
			assert.NotContains(t, text, "canary")
		})
	}
}

func TestProgramOf(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
		return path
	}
	for name, tc := range map[string]struct{ text, what, warning, fault string }{
		"sh":        {"#!/bin/sh\n", "shell script", "", ""},
		"options":   {"#! /bin/sh -e\nx", "shell script", "", ""},
		"env":       {"#!/usr/bin/env sh\n", "shell script", "", ""},
		"env -S":    {"#!/usr/bin/env -S X=1 sh -e\n", "shell script", "", ""},
		"not found": {"#!/usr/bin/env python9.99\n", "Python script", "which is not found in PATH", ""},
		"no line":   {"echo hello\n", "file without a #! line, which a shell would run", "", ""},
		"no name":   {"#!\n", "", "", ""},
		"gone":      {"#!/nosuch/node\n", "", "", "bad interpreter /nosuch/node"},
		"ELF":       {"\x7fELF\x02\x01", "program", "", ""},
		"Mach-O":    {"\xcf\xfa\xed\xfe\x07", "program", "", ""},
		"empty":     {"", "empty file, or one that can not be read", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := write("x-"+strings.ReplaceAll(name, " ", "-"), tc.text)
			program, warning, err := programOf([]string{path}, os.Environ())
			assert.True(t, program.Found)
			assert.Equal(t, tc.what, program.What)
			if assert.Contains(t, warning, tc.warning); tc.warning == "" {
				assert.Empty(t, warning)
			}
			if tc.fault == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, tc.fault)
			}
		})
	}
	for path, what := range map[string]string{"/usr/bin/python3.12": "Python interpreter", "/usr/bin/node": "Node.js interpreter", "/bin/dash": "shell", "/bin/nodejs-x": "program"} {
		assert.Equal(t, what, languageOf(path, "program"))
	}
}

func TestCaptured(t *testing.T) {
	sources := []report.Plan{{Source: "socket", On: true}, {Source: "burr"}, {Source: "otlp", On: true}, {Source: "gateway", On: true}, {Source: "process", On: true}, {Source: "tee", On: true}}
	plan := sceneOf(t, nil).plan
	assert.Equal(t, "what it tells by socket, otlp; its LLM calls through the gateway; its processes", captured([]string{"./x"}, &plan, sources))
	assert.Equal(t, "Claude Code's agents, LLM calls, tools and tokens by otlp; what it tells by socket, otlp", captured([]string{"/usr/bin/claude", "-p"}, &plan, sources[:3]))
	quiet := sceneOf(t, []string{"CLAUDE_CODE_ENABLE_TELEMETRY=0"}).plan
	assert.Equal(t, "what it tells by socket", captured([]string{"claude"}, &quiet, sources[:1]))
}
