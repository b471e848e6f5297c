package otlp

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Plan is what the environment of the orchestrator should be for its telemetry
// to come here, and what becomes of what was set before.
type Plan struct {
	// Set are the variables to add or replace.
	Set []Variable
	// Targets are the user's own endpoints, whose place the receiver takes.
	Targets Targets
	// Notes say, a sentence each, what was left as it was and what to do about it.
	Notes []string
}

// Variable is an environment variable that the orchestrator is given.
type Variable struct {
	Name, Value string
	// Reason is what it is for, as a phrase for people.
	Reason string
}

// Targets are where each signal is forwarded to; nil where it is not.
type Targets struct{ Traces, Logs, Metrics *Target }

// Apply gives base with the plan's variables set.
func (p *Plan) Apply(base []string) []string {
	env := slices.Clone(base)
	for _, v := range p.Set {
		env = slices.DeleteFunc(env, func(entry string) bool { return strings.HasPrefix(entry, v.Name+"=") })
		env = append(env, v.Name+"="+v.Value)
	}
	return env
}

// Address is where a receiver is.
type Address struct {
	Endpoint string // base URL, without a path
	Token    string // that it wants
	RunID    string // of the run that it records
	// Certificate is the PEM file that it serves by TLS, empty without TLS.
	Certificate string
}

// RunAttribute is the resource attribute with the run's id.
const RunAttribute = "obsrun.run_id"

// export holds the variables of one signal, general ones where it has none of
// its own. (OpenTelemetry specification 1.50, protocol/exporter.md.)
type export struct {
	signal   signal
	infix    string // of its own variables
	exporter string // the variable that picks its exporter
	target   **Target
}

// Environment plans the environment of an orchestrator whose environment is
// base. Nothing that the user set for another purpose is overridden: an OTLP
// endpoint over HTTP is replaced and becomes a target of the tee; one over gRPC,
// a signal that is off and a disabled SDK stay as they are, with a note.
// DefaultCollector is the base URL of a collector that was found on OTLP's
// default port, empty if none: an exporter that was not configured would send
// there, so it becomes a target too.
func Environment(base []string, at Address, defaultCollector string) Plan {
	var p Plan
	env := environment(base)
	if strings.EqualFold(env["OTEL_SDK_DISABLED"], "true") {
		p.note("OTEL_SDK_DISABLED is set: OpenTelemetry is off, and agents that report by it will not be seen")
		return p
	}
	for _, key := range []string{"OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"} {
		if env[key] != "" {
			p.note(key + " is set: an SDK that reads it ignores the other OTEL_ variables, and reports there and not here")
		}
	}
	exports := []export{
		{traces, "TRACES_", "OTEL_TRACES_EXPORTER", &p.Targets.Traces},
		{logRecords, "LOGS_", "OTEL_LOGS_EXPORTER", &p.Targets.Logs},
		{metricPoints, "METRICS_", "OTEL_METRICS_EXPORTER", &p.Targets.Metrics},
	}
	way := make(map[signal]route)
	general := true // no signal stays with what the general variables say
	for i := range exports {
		way[exports[i].signal] = p.route(env, &exports[i], at, defaultCollector)
		general = general && way[exports[i].signal] != byGRPC
	}
	if way[traces] != here && way[logRecords] != here && way[metricPoints] != here {
		return p
	}
	headers := "Authorization=Bearer%20" + url.PathEscape(at.Token)
	if general {
		p.set("OTEL_EXPORTER_OTLP_ENDPOINT", at.Endpoint, "where OpenTelemetry SDKs send telemetry")
		p.set("OTEL_EXPORTER_OTLP_HEADERS", headers, "the run's token")
		p.set("OTEL_EXPORTER_OTLP_PROTOCOL", protocolOr(env["OTEL_EXPORTER_OTLP_PROTOCOL"]), "gRPC is not understood here")
	}
	for i := range exports {
		s := &exports[i]
		if way[s.signal] != here || general && !s.own(env) {
			continue
		}
		prefix := "OTEL_EXPORTER_OTLP_" + s.infix
		p.set(prefix+"ENDPOINT", at.Endpoint+signals[s.signal].path, "set for this signal alone before")
		p.set(prefix+"HEADERS", headers, "the run's token")
		protocol := env[prefix+"PROTOCOL"]
		if protocol == "" {
			protocol = env["OTEL_EXPORTER_OTLP_PROTOCOL"]
		}
		p.set(prefix+"PROTOCOL", protocolOr(protocol), "gRPC is not understood here")
	}
	for i := range exports {
		if s := &exports[i]; way[s.signal] == here {
			p.certificates(env, s, at, general)
		}
	}
	p.set("OTEL_RESOURCE_ATTRIBUTES", resourceAttributes(env["OTEL_RESOURCE_ATTRIBUTES"], at.RunID), "which run the telemetry belongs to")
	for _, sw := range Switches() {
		if sw.wanted(env, way) {
			p.set(sw.Name, strings.ReplaceAll(sw.Value, "{endpoint}", at.Endpoint), sw.Reason)
		}
	}
	if p.Targets != (Targets{}) {
		p.note("telemetry is also forwarded to the endpoint that was set, including what obsrun switched on in known agents")
	}
	return p
}

// certificates makes what the exporters of a signal trust fit the receiver. What
// the user set goes with the endpoint whose place the receiver takes.
func (p *Plan) certificates(env map[string]string, s *export, at Address, general bool) {
	const all = "OTEL_EXPORTER_OTLP_"
	own := all + s.infix
	if !strings.HasPrefix(at.Endpoint, "https:") {
		for _, suffix := range []string{"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"} {
			for _, name := range []string{all + suffix, own + suffix} {
				if env[name] != "" && (general || name != all+suffix) {
					p.setOnce(name, "", "some exporters refuse a certificate where there is no TLS")
				}
			}
		}
		return
	}
	given, isOwn := s.of(env, "CERTIFICATE")
	if !anchored(at.Certificate) || given != "" && *s.target == nil {
		return
	}
	name := all + "CERTIFICATE"
	if isOwn || !general {
		name = own + "CERTIFICATE"
	}
	path, err := filepath.Abs(at.Certificate)
	if err != nil {
		path = at.Certificate
	}
	p.setOnce(name, path, "the certificate that obsrun serves, for which no authority vouches")
}

func (p *Plan) setOnce(name, value, reason string) {
	if !slices.ContainsFunc(p.Set, func(v Variable) bool { return v.Name == name }) {
		p.set(name, value, reason)
	}
}

// anchored tells whether the PEM file vouches for itself: its last certificate is
// self-signed. Any other needs an authority that the system knows, and would not be
// accepted as one by every library.
func anchored(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	var last *x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			last, err = x509.ParseCertificate(block.Bytes)
		}
	}
	return last != nil && err == nil && bytes.Equal(last.RawIssuer, last.RawSubject)
}

func (p *Plan) set(name, value, reason string) {
	p.Set = append(p.Set, Variable{Name: name, Value: value, Reason: reason})
}

func (p *Plan) note(text string) { p.Notes = append(p.Notes, text) }

// route is where a signal goes.
type route int

const (
	here   route = iota
	byGRPC       // to the user's endpoint, which is left alone
	off          // nowhere, or not by OTLP
)

// own tells whether the signal has exporter variables of its own.
func (s *export) own(env map[string]string) bool {
	for _, suffix := range []string{"ENDPOINT", "HEADERS", "PROTOCOL"} {
		if env["OTEL_EXPORTER_OTLP_"+s.infix+suffix] != "" {
			return true
		}
	}
	return false
}

// of gives a variable of the signal, or else the general one.
func (s *export) of(env map[string]string, suffix string) (value string, own bool) {
	if v := env["OTEL_EXPORTER_OTLP_"+s.infix+suffix]; v != "" {
		return v, true
	}
	return env["OTEL_EXPORTER_OTLP_"+suffix], false
}

// route decides whether the signal is sent here, and notes where to forward it.
func (p *Plan) route(env map[string]string, s *export, at Address, defaultCollector string) route {
	name := strings.ToLower(strings.TrimSuffix(s.infix, "_"))
	if exporter := env[s.exporter]; exporter != "" && !slices.Contains(strings.Split(strings.ReplaceAll(exporter, " ", ""), ","), "otlp") {
		if s.signal != metricPoints { // which nobody will miss
			p.note(fmt.Sprintf("%s is %q: %s do not come by OTLP", s.exporter, exporter, name))
		}
		return off
	}
	endpoint, own := s.of(env, "ENDPOINT")
	protocol, _ := s.of(env, "PROTOCOL")
	u, err := url.Parse(endpoint)
	grpc := strings.EqualFold(protocol, "grpc") || protocol == "" && err == nil && u.Port() == "4317"
	switch {
	case grpc && endpoint != "":
		p.noteOnce(fmt.Sprintf("the OTLP endpoint %s is over gRPC and left alone: what goes there is not seen here (OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and an HTTP endpoint would be)", publicURL(endpoint)))
		return byGRPC
	case grpc:
		p.noteOnce("OTEL_EXPORTER_OTLP_PROTOCOL is grpc and left alone: what is sent by gRPC is not seen here")
		return byGRPC
	case endpoint == "" && defaultCollector == "":
		return here
	case endpoint == "":
		endpoint, own = defaultCollector, false
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		p.noteOnce("the OTLP endpoint that is set is no http or https URL: it is replaced and not forwarded to")
		return here
	}
	if !own {
		endpoint = strings.TrimSuffix(endpoint, "/") + signals[s.signal].path
	}
	if strings.HasPrefix(endpoint, at.Endpoint+"/") {
		return here // it is this receiver
	}
	headers, _ := s.of(env, "HEADERS")
	target := &Target{URL: endpoint, Header: parseHeaders(headers)}
	target.CA, _ = s.of(env, "CERTIFICATE")
	target.Cert, _ = s.of(env, "CLIENT_CERTIFICATE")
	target.Key, _ = s.of(env, "CLIENT_KEY")
	*s.target = target
	return here
}

func (p *Plan) noteOnce(text string) {
	if !slices.Contains(p.Notes, text) {
		p.note(text)
	}
}

// protocolOr keeps a protocol that is understood.
func protocolOr(set string) string {
	if set == "http/json" {
		return set
	}
	return "http/protobuf"
}

// environment gives the variables by name; of equal ones the last, as an
// exec'd program's runtime would have it.
func environment(base []string) map[string]string {
	env := make(map[string]string, len(base))
	for _, entry := range base {
		if key, value, ok := strings.Cut(entry, "="); ok {
			env[key] = strings.TrimSpace(value)
		}
	}
	return env
}

// Pairs reads the format of OTEL_EXPORTER_OTLP_HEADERS and
// OTEL_RESOURCE_ATTRIBUTES, that of W3C baggage: key=value by comma,
// percent-encoded. What is no pair is left out; the last of equal keys counts.
func Pairs(list string) map[string]string {
	pairs := make(map[string]string)
	for pair := range strings.SplitSeq(list, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			continue
		}
		if decoded, err := url.PathUnescape(key); err == nil {
			key = decoded
		}
		value = strings.TrimSpace(value)
		if decoded, err := url.PathUnescape(value); err == nil {
			value = decoded
		}
		if !strings.ContainsAny(key+value, "\r\n") {
			pairs[key] = value
		}
	}
	return pairs
}

func parseHeaders(list string) http.Header {
	header := make(http.Header)
	for key, value := range Pairs(list) {
		header.Set(key, value)
	}
	return header
}

// resourceAttributes adds the run to the attributes that the user set.
func resourceAttributes(set, runID string) string {
	var pairs []string
	for pair := range strings.SplitSeq(set, ",") {
		key, _, _ := strings.Cut(pair, "=")
		if strings.TrimSpace(pair) != "" && strings.TrimSpace(key) != RunAttribute {
			pairs = append(pairs, pair)
		}
	}
	return strings.Join(append(pairs, RunAttribute+"="+url.PathEscape(runID)), ",")
}
