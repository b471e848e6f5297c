package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument/receiver/otlp"
	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/report/export"
)

// exportPatience is what the last spans have to reach the endpoint of
// --otlp-export after the run's end. One that refused all it was asked, or a run
// that was interrupted, has the short one.
const (
	exportPatience = 5 * time.Second
	shortPatience  = time.Second
)

func exportFlags() []cli.Flag {
	return []cli.Flag{
		stringFlag("otlp-export", "", "send the run, live, to this OTLP/HTTP endpoint: the base `URL` of a collector or backend"),
		stringFlag("otlp-export-headers", "", "`NAME=VALUE,...` sent with it, percent-encoded; keys are safer in OBSRUN_OTLP_EXPORT_HEADERS"),
	}
}

// exportOptions are what --otlp-export and its companion say.
type exportOptions struct {
	url     string // with the path for traces
	headers map[string]string
}

// parseExport gives nil where nothing is exported.
func parseExport(c *cli.Context) (*exportOptions, error) {
	text := c.String("otlp-export")
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, usagef("--otlp-export: say the base URL of an OTLP/HTTP endpoint, such as http://localhost:4318")
	case u.User != nil || u.RawQuery != "":
		return nil, usagef("--otlp-export: the URL can have no user, password or query; keys go into OBSRUN_OTLP_EXPORT_HEADERS")
	}
	u.Fragment = ""
	if u.Path = strings.TrimRight(u.Path, "/"); !strings.HasSuffix(u.Path, tracesPath) {
		u.Path += tracesPath
	}
	return &exportOptions{u.String(), otlp.Pairs(c.String("otlp-export-headers"))}, nil
}

// tracesPath is OTLP/HTTP's for spans, below an endpoint's base URL.
const tracesPath = "/v1/traces"

// startExport begins to send the run to where --otlp-export says.
func (s *session) startExport() {
	if s.opt.export == nil {
		return
	}
	if s.server != nil && sameOrigin(s.opt.export.url, s.server.Base()) {
		s.fault(fmt.Errorf("--otlp-export %s is obsrun's own address: nothing is exported", s.opt.export.url))
		return
	}
	to := export.Endpoint{URL: s.opt.export.url, Headers: s.opt.export.headers, Tell: s.recorder.Note}
	// The user's own OTLP endpoint, as the orchestrator was to use it: what it needs
	// is known, and goes to no other server.
	if own := otlp.Environment(s.w.env, otlp.Address{}, "").Targets.Traces; own != nil && sameOrigin(own.URL, to.URL) {
		if len(to.Headers) == 0 {
			to.Headers = make(map[string]string)
			for key := range own.Header {
				to.Headers[key] = own.Header.Get(key)
			}
		}
		config, err := own.TLS()
		if err != nil {
			s.fault(err)
			return
		}
		to.TLS = config
	}
	// What the orchestrator sends by OTLP is forwarded there as it comes, unless
	// other headers make it another account.
	if tee := s.plan.Targets.Traces; tee != nil && s.otlp != nil && len(s.opt.export.headers) == 0 {
		to.SkipOTLP = sameOrigin(tee.URL, to.URL) && pathOf(tee.URL) == pathOf(to.URL)
	}
	attributes := otlp.Pairs(lookup(s.w.env, "OTEL_RESOURCE_ATTRIBUTES"))
	if name := lookup(s.w.env, "OTEL_SERVICE_NAME"); name != "" {
		attributes["service.name"] = name
	}
	live, err := export.Start(s.recorder.Feed(), export.NewTrace(s.dir.RunID, version, attributes), to)
	if err != nil {
		s.fault(err)
		return
	}
	s.export = live
}

// closeExport sends the end of the run, and tells what was not delivered.
func (s *session) closeExport(ctx context.Context, interrupted bool) {
	if s.export == nil {
		return
	}
	patience := exportPatience
	if interrupted {
		patience = shortPatience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// An endpoint that has refused all it was asked is not there, and who asks a
	// second time does not want to wait.
	dead := time.AfterFunc(shortPatience, func() {
		if !s.export.Answered() {
			cancel()
		}
	})
	defer dead.Stop()
	if s.process != nil {
		go func() {
			select {
			case <-s.process.Late():
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	if spans, missing, reason := s.export.Close(ctx); missing > 0 {
		if reason == "" {
			reason = "there was no time left"
		}
		s.faults = append(s.faults, fmt.Sprintf("%d of %d spans were not exported to %s: %s", missing, spans, s.opt.export.url, report.Visible(reason)))
	}
}

func pathOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	return u.Path
}

// sameOrigin tells whether two URLs are of one server. This machine has several
// names.
func sameOrigin(a, b string) bool {
	origin := func(text string) string {
		u, err := url.Parse(text)
		if err != nil {
			return text
		}
		host, port := strings.ToLower(u.Hostname()), u.Port()
		if host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.") {
			host = "loopback"
		}
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		return u.Scheme + "://" + host + ":" + port
	}
	return origin(a) == origin(b)
}
