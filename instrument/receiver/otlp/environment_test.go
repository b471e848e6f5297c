package otlp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var address = Address{Endpoint: "http://127.0.0.1:7777", Token: "tok", RunID: "run-1"}

func (p *Plan) get(name string) string {
	for _, v := range p.Set {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

func TestEnvironmentFromNothing(t *testing.T) {
	p := Environment([]string{"PATH=/bin", "ODD"}, address, "")
	assert.Empty(t, p.Notes)
	assert.Equal(t, Targets{}, p.Targets)
	for name, want := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:7777", "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20tok",
		"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_RESOURCE_ATTRIBUTES": "obsrun.run_id=run-1",
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "500",
		"CLAUDE_CODE_ENABLE_TELEMETRY": "1", "GEMINI_TELEMETRY_OTLP_ENDPOINT": "http://127.0.0.1:7777",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "", "OTEL_METRICS_EXPORTER": "",
	} {
		assert.Equal(t, want, p.get(name), name)
	}
	for _, v := range p.Set {
		assert.NotEmpty(t, v.Reason, v.Name)
	}
	env := p.Apply([]string{"PATH=/bin", "OTEL_TRACES_EXPORTER=", "OTEL_TRACES_EXPORTER=x"})
	assert.Contains(t, env, "PATH=/bin")
	assert.Equal(t, 1, strings.Count(strings.Join(env, "\n"), "OTEL_TRACES_EXPORTER="))
}

func TestEnvironment(t *testing.T) {
	type want struct {
		set                   map[string]string // "" for not at all
		traces, logs, metrics string            // targets
		notes                 []string          // parts of them, in order
	}
	for name, c := range map[string]struct {
		env       []string
		collector string
		want
	}{
		"an endpoint over HTTP": {
			[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://api.example.com/otlp/", "OTEL_EXPORTER_OTLP_HEADERS=x-key=a%20b,y=2", "OTEL_EXPORTER_OTLP_PROTOCOL=http/json"}, "",
			want{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:7777", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
				"https://api.example.com/otlp/v1/traces", "https://api.example.com/otlp/v1/logs", "https://api.example.com/otlp/v1/metrics", []string{"also forwarded"}},
		},
		"one signal's own": {
			[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://jaeger:4318/custom", "OTEL_EXPORTER_OTLP_TRACES_HEADERS=k=v"}, "",
			want{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:7777", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:7777/v1/traces",
				"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "Authorization=Bearer%20tok", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": ""},
				"http://jaeger:4318/custom", "", "", []string{"also forwarded"}},
		},
		"gRPC": {
			[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://u:secret@collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, "",
			want{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "", "CLAUDE_CODE_ENABLE_TELEMETRY": "", "OTEL_RESOURCE_ATTRIBUTES": ""}, "", "", "", []string{"http://collector:4317 is over gRPC and left alone"}},
		},
		"gRPC by its port":          {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317"}, "", want{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "", "", "", []string{"gRPC"}}},
		"gRPC without an endpoint":  {[]string{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, "", want{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "", "", "", []string{"is grpc and left alone"}}},
		"HTTP on the port of gRPC":  {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"}, "", want{nil, "http://localhost:4317/v1/traces", "http://localhost:4317/v1/logs", "http://localhost:4317/v1/metrics", []string{"also"}}},
		"disabled":                  {[]string{"OTEL_SDK_DISABLED=True"}, "", want{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "", "CLAUDE_CODE_ENABLE_TELEMETRY": ""}, "", "", "", []string{"OTEL_SDK_DISABLED"}}},
		"a configuration file":      {[]string{"OTEL_CONFIG_FILE=otel.yaml"}, "", want{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:7777"}, "", "", "", []string{"OTEL_CONFIG_FILE"}}},
		"no URL":                    {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=localhost:4318"}, "", want{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:7777"}, "", "", "", []string{"no http or https URL"}}},
		"this receiver":             {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:7777"}, "", want{nil, "", "", "", nil}},
		"a collector is found":      {nil, "http://localhost:4318", want{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:7777"}, "http://localhost:4318/v1/traces", "http://localhost:4318/v1/logs", "http://localhost:4318/v1/metrics", []string{"also"}}},
		"traces are off":            {[]string{"OTEL_TRACES_EXPORTER=none", "OTEL_METRICS_EXPORTER=none"}, "", want{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:7777", "OTEL_TRACES_EXPORTER": "", "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "", "CLAUDE_CODE_ENABLE_TELEMETRY": "1", "GEMINI_TELEMETRY_ENABLED": ""}, "", "", "", []string{"OTEL_TRACES_EXPORTER"}}},
		"one exporter of several":   {[]string{"OTEL_TRACES_EXPORTER=console, otlp"}, "", want{map[string]string{"OTEL_TRACES_EXPORTER": "", "OTEL_BSP_SCHEDULE_DELAY": "500"}, "", "", "", nil}},
		"resource attributes":       {[]string{"OTEL_RESOURCE_ATTRIBUTES=team=a,obsrun.run_id=outer, x=y"}, "", want{map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "team=a, x=y,obsrun.run_id=run-1"}, "", "", "", nil}},
		"the user's own switches":   {[]string{"CLAUDE_CODE_ENABLE_TELEMETRY=0", "OTEL_BSP_SCHEDULE_DELAY=9", "GEMINI_TELEMETRY_TARGET=gcp"}, "", want{map[string]string{"CLAUDE_CODE_ENABLE_TELEMETRY": "", "OTEL_BSP_SCHEDULE_DELAY": "", "GEMINI_TELEMETRY_ENABLED": "", "GEMINI_TELEMETRY_OTLP_ENDPOINT": ""}, "", "", "", nil}},
		"one signal stays by gRPC":  {[]string{"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_HEADERS=k=v"}, "", want{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_EXPORTER_OTLP_HEADERS": "", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:7777/v1/traces", "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "Authorization=Bearer%20tok", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "", "GEMINI_TELEMETRY_ENABLED": ""}, "", "", "", []string{"is grpc"}}},
		"certificates go along too": {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://c", "OTEL_EXPORTER_OTLP_CERTIFICATE=/ca.pem"}, "", want{nil, "https://c/v1/traces", "https://c/v1/logs", "https://c/v1/metrics", []string{"also"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := Environment(c.env, address, c.collector)
			for key, value := range c.set {
				assert.Equal(t, value, p.get(key), key)
			}
			url := func(target *Target) string {
				if target == nil {
					return ""
				}
				return target.URL
			}
			assert.Equal(t, [3]string{c.traces, c.logs, c.metrics}, [3]string{url(p.Targets.Traces), url(p.Targets.Logs), url(p.Targets.Metrics)})
			require.Len(t, p.Notes, len(c.notes), "%q", p.Notes)
			for i, part := range c.notes {
				assert.Contains(t, p.Notes[i], part)
				assert.NotContains(t, p.Notes[i], "secret")
			}
			// What goes here is understood here.
			if endpoint := p.get("OTEL_EXPORTER_OTLP_ENDPOINT"); endpoint != "" {
				assert.NotEqual(t, "grpc", p.get("OTEL_EXPORTER_OTLP_PROTOCOL"))
			}
		})
	}
	p := Environment([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://c", "OTEL_EXPORTER_OTLP_CERTIFICATE=/ca.pem", "OTEL_EXPORTER_OTLP_HEADERS=x-key=a%20b, Y = 2,bad,=z,evil=a%0d%0ab"}, address, "")
	assert.Equal(t, "/ca.pem", p.Targets.Logs.CA)
	assert.Equal(t, http.Header{"X-Key": {"a b"}, "Y": {"2"}}, p.Targets.Traces.Header)
}

// A receiver with TLS must be trusted; one without must not be given certificates,
// which Go's exporter refuses.
func TestEnvironmentCertificates(t *testing.T) {
	chain := func(name string, certificates ...string) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(strings.Join(certificates, "")), 0o600))
		return path
	}
	root := certificate(t, nil)
	leaf := certificate(t, root).pem
	own, signed, whole := chain("own.pem", root.pem), chain("signed.pem", leaf), chain("whole.pem", leaf, root.pem)
	const all, traces = "OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"
	for name, c := range map[string]struct {
		endpoint, file string
		env            []string
		set            map[string]string // "-" for not at all
	}{
		"self-signed":                 {"https://127.0.0.1:7777", own, nil, map[string]string{all: own, traces: "-"}},
		"with its authority":          {"https://127.0.0.1:7777", whole, nil, map[string]string{all: whole}},
		"by an authority":             {"https://127.0.0.1:7777", signed, nil, map[string]string{all: "-"}},
		"no certificate":              {"https://127.0.0.1:7777", chain("x", "nonsense"), nil, map[string]string{all: "-"}},
		"the user's, for obsrun":      {"https://127.0.0.1:7777", own, []string{all + "=/ca.pem"}, map[string]string{all: "-"}},
		"the user's, for another":     {"https://127.0.0.1:7777", own, []string{all + "=/ca.pem", "OTEL_EXPORTER_OTLP_ENDPOINT=https://c"}, map[string]string{all: own}},
		"one signal's":                {"https://127.0.0.1:7777", own, []string{traces + "=/ca.pem", "OTEL_EXPORTER_OTLP_ENDPOINT=https://c"}, map[string]string{all: own, traces: own}},
		"beside gRPC":                 {"https://127.0.0.1:7777", own, []string{"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=grpc"}, map[string]string{all: "-", traces: own, "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE": "-"}},
		"without TLS":                 {"http://127.0.0.1:7777", "", nil, map[string]string{all: "-"}},
		"without TLS, the user's":     {"http://127.0.0.1:7777", "", []string{all + "=/ca.pem", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY=/k", "OTEL_EXPORTER_OTLP_ENDPOINT=https://c"}, map[string]string{all: "", traces: "-", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": ""}},
		"without TLS and beside gRPC": {"http://127.0.0.1:7777", "", []string{all + "=/ca.pem", traces + "=/ca.pem", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=grpc"}, map[string]string{all: "-", traces: ""}},
	} {
		t.Run(name, func(t *testing.T) {
			p := Environment(c.env, Address{Endpoint: c.endpoint, Token: "tok", RunID: "run-1", Certificate: c.file}, "")
			for key, want := range c.set {
				i := slices.IndexFunc(p.Set, func(v Variable) bool { return v.Name == key })
				if want == "-" {
					assert.Negative(t, i, key)
				} else if assert.GreaterOrEqual(t, i, 0, key) {
					assert.Equal(t, want, p.Set[i].Value, key)
				}
			}
		})
	}
}

// issued is a certificate with its key.
type issued struct {
	pem string
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// certificate makes one for 127.0.0.1, self-signed or by an authority.
func certificate(t *testing.T, by *issued) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "self"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: by == nil, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	issuer, signer := c, key
	if by != nil {
		c.Subject.CommonName, issuer, signer = "leaf", by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, &key.PublicKey, signer)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &issued{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), parsed, key}
}

func TestAnswers(t *testing.T) {
	r, _ := newReceiver()
	server := httptest.NewServer(r)
	assert.True(t, Answers(context.Background(), server.URL))
	server.Close()
	assert.False(t, Answers(context.Background(), server.URL))
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	defer other.Close()
	assert.False(t, Answers(context.Background(), other.URL))
	assert.False(t, Answers(context.Background(), "::"))
}
