package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/obsrun/obsrun/instrument/receiver/gateway"
	"github.com/obsrun/obsrun/supervisor"
)

// twin gives a flag its environment twin: --log-dir is OBSRUN_LOG_DIR.
func twin(name string) []string {
	return []string{"OBSRUN_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))}
}

// The flags of a run know their names. Those of cli make them out of a text that can say
// more, each time, and cli asks every flag for every other one.
type (
	textFlag struct {
		*cli.StringFlag
		names []string
	}
	textsFlag struct {
		*cli.StringSliceFlag
		names []string
	}
	switchFlag struct {
		*cli.BoolFlag
		names []string
	}
)

func (f textFlag) Names() []string   { return f.names }
func (f textsFlag) Names() []string  { return f.names }
func (f switchFlag) Names() []string { return f.names }

func stringFlag(name, value, usage string) cli.Flag {
	return textFlag{&cli.StringFlag{Name: name, Value: value, Usage: usage, EnvVars: twin(name)}, []string{name}}
}

func listFlag(name, usage string) cli.Flag {
	return textsFlag{&cli.StringSliceFlag{Name: name, Usage: usage, EnvVars: twin(name)}, []string{name}}
}

func boolFlag(name, usage string, aliases ...string) cli.Flag {
	return switchFlag{&cli.BoolFlag{Name: name, Aliases: aliases, Usage: usage, EnvVars: twin(name)}, append([]string{name}, aliases...)}
}

func logDirFlag() cli.Flag {
	return stringFlag("log-dir", "logs", "`DIR` where run directories go")
}

// serveFlags are those of every command that serves the dashboard.
func serveFlags() []cli.Flag {
	return []cli.Flag{
		logDirFlag(),
		stringFlag("listen", "127.0.0.1:0", "`ADDR` of the dashboard; off for none; one that is not loopback needs --tls-cert and --tls-key, or --insecure"),
		listFlag("allow-host", "a further Host `NAME` that is answered (tunnels, forwarded ports); repeatable"),
		stringFlag("tls-cert", "", "PEM `FILE` with the certificate of the dashboard"),
		stringFlag("tls-key", "", "PEM `FILE` with its key"),
		boolFlag("insecure", "serve beyond this machine without TLS"),
		boolFlag("open", "start the browser (default: where stderr is a terminal with a display, never in CI)"),
		boolFlag("no-open", "do not start the browser"),
	}
}

func runFlags() []cli.Flag {
	return append(slices.Concat(serveFlags(), exportFlags(), documentFlags()),
		stringFlag("name", "", "`NAME` that is the first part of the run id (default: from COMMAND)"),
		stringFlag("source-repo", "", "`URL` of what the run is about"),
		stringFlag("source-commit", "", "`SHA` of what the run is about"),
		stringFlag("keep-open", "0", "go on serving for this `DURATION` after COMMAND ended; -1 until interrupted"),
		listFlag("stall-timeout", "`DURATION` of silence after which a span is stalled: auto, 0 for off, or KIND=DURATION; repeatable (default: auto)"),
		stringFlag("on-stall", "flag", "what a stall does to the run: `flag|kill`"),
		stringFlag("fail-on", "", "exit 3 although COMMAND exited 0: `stall,error`"),
		boolFlag("no-pty", "no terminal for COMMAND"),
		boolFlag("record", "record terminal.cast (default: yes, but not when CI is set)"),
		boolFlag("no-record", "do not record terminal.cast"),
		listFlag("gateway", "meter the calls to these LLM providers, by standing between: `openai,anthropic`"),
		listFlag("gateway-upstream", "where the gateway passes calls on to: `URL`, or PROVIDER=URL; repeatable"),
		listFlag("agent-name-pattern", "regular `EXPRESSION` whose group finds an agent's component in its first message, for the gateway; repeatable"),
		listFlag("source", "switch a telemetry source off: `NAME=off`; repeatable"),
		boolFlag("quiet", "no line before, no summary after; on GitHub, no annotations and no step summary", "q"),
	)
}

// twins are the environment variables that set flags: they are not for the child.
var twins = sync.OnceValue(func() []string {
	var names []string
	for _, f := range runFlags() {
		names = append(names, twin(f.Names()[0])...)
	}
	return slices.Clip(names)
})

// dropEmptyTwins takes a variable that is empty for one that is not set: CI
// systems pass on variables that way.
func dropEmptyTwins() {
	for _, name := range twins() {
		if value, set := os.LookupEnv(name); set && value == "" {
			_ = os.Unsetenv(name)
		}
	}
}

// serving is what serveFlags say.
type serving struct {
	logDir, listen  string
	allowHosts      []string
	tlsCert, tlsKey string
	insecure        bool
	open            bool
}

// options are what the flags of a run say.
type options struct {
	serving
	name                     string
	sourceRepo, sourceCommit string
	keepOpen                 time.Duration // negative: until interrupted
	stall                    supervisor.StallTimeout
	killOnStall              bool
	failOnStall, failOnError bool
	noPTY, record, quiet     bool
	off                      []string // sources
	gateway                  *gatewayOptions
	export                   *exportOptions
	documents                documents
	command                  []string
	shown                    []string // the command as people are shown it; nil: as it is
}

func servingOptions(c *cli.Context, w world) (serving, error) {
	if err := applyFile(c); err != nil {
		return serving{}, err
	}
	s := serving{
		logDir: c.String("log-dir"), listen: c.String("listen"), allowHosts: listOf(c, "allow-host"),
		tlsCert: c.String("tls-cert"), tlsKey: c.String("tls-key"), insecure: c.Bool("insecure"),
	}
	var err error
	s.open, err = either(c, "open", !inCI() && isTerminal(w.stderr) && hasDisplay())
	return s, err
}

// either is what --NAME and --no-NAME come to. One on the command line beats one
// from the environment or the file.
func either(c *cli.Context, name string, otherwise bool) (bool, error) {
	yes, no := c.Bool(name), c.Bool("no-"+name)
	if yes && no {
		yes, no = os.Getenv(twin(name)[0]) == "", os.Getenv(twin("no-" + name)[0]) == ""
	}
	switch {
	case yes == no && c.Bool(name):
		return false, usagef("--%s and --no-%s contradict each other", name, name)
	case yes == no:
		return otherwise, nil
	}
	return yes, nil
}

// listOf are the values of a repeatable flag. An environment variable holds
// several with commas between them.
func listOf(c *cli.Context, name string) []string {
	var values []string
	for _, value := range c.StringSlice(name) {
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				values = append(values, part)
			}
		}
	}
	return values
}

func runOptions(c *cli.Context, w world) (options, error) {
	s, err := servingOptions(c, w)
	if err != nil {
		return options{}, err
	}
	o := options{
		serving: s, name: c.String("name"), sourceRepo: cutUserInfo(c.String("source-repo")), sourceCommit: c.String("source-commit"),
		noPTY: c.Bool("no-pty"), quiet: c.Bool("quiet"),
	}
	o.documents = documentsOf(c, o.quiet)
	if o.name != "" && !isName(o.name) {
		return o, usagef("--name %q does not fit: a letter, then up to 47 letters, digits, dots, dashes and underscores", o.name)
	}
	if o.keepOpen, err = parseKeepOpen(c.String("keep-open")); err != nil {
		return o, err
	}
	if o.stall, err = supervisor.ParseStallTimeout(listOf(c, "stall-timeout")); err != nil {
		return o, usagef("--stall-timeout: %v", err)
	}
	switch on := c.String("on-stall"); on {
	case "flag":
	case "kill":
		o.killOnStall = true
	default:
		return o, usagef("--on-stall %s: say flag or kill", on)
	}
	for _, what := range strings.Split(c.String("fail-on"), ",") {
		switch strings.TrimSpace(what) {
		case "":
		case "stall":
			o.failOnStall = true
		case "error":
			o.failOnError = true
		default:
			return o, usagef("--fail-on %s: say stall, error, or both with a comma", what)
		}
	}
	if o.record, err = either(c, "record", !inCI()); err != nil {
		return o, err
	}
	o.record = o.record && !o.noPTY
	for _, source := range listOf(c, "source") {
		name, state, _ := strings.Cut(source, "=")
		switch {
		case name == "socket":
			return o, usagef("--source %s: the socket can not be switched off", source)
		case !slices.Contains(switchable, name) || state != "off":
			return o, usagef("--source %s: say NAME=off, NAME one of %s; they are on where nothing is said", source, strings.Join(switchable, ", "))
		}
		o.off = append(o.off, name)
	}
	if o.export, err = parseExport(c); err != nil {
		return o, err
	}
	o.gateway, err = parseGateway(c, w)
	return o, err
}

// parseGateway gives nil where there is no gateway.
func parseGateway(c *cli.Context, w world) (*gatewayOptions, error) {
	providers := listOf(c, "gateway")
	if len(providers) == 0 {
		return nil, nil
	}
	var opt gatewayOptions
	var err error
	if opt.upstreams, err = gateway.Upstreams(providers, c.StringSlice("gateway-upstream"), w.env); err != nil {
		return nil, usagef("--gateway: %v", err)
	}
	for _, text := range c.StringSlice("agent-name-pattern") {
		pattern, err := gateway.CompileNamePattern(text)
		if err != nil {
			return nil, usagef("--agent-name-pattern: %v", err)
		}
		opt.patterns = append(opt.patterns, pattern)
	}
	return &opt, nil
}

func parseKeepOpen(text string) (time.Duration, error) {
	if n, err := strconv.Atoi(text); err == nil {
		switch {
		case n < 0:
			return -1, nil
		case n == 0:
			return 0, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, usagef("--keep-open %s: say a duration such as 10m, or -1", text)
	}
	return d, nil
}

// inCI tells whether this is a CI job: they all set CI.
func inCI() bool {
	ci := os.Getenv("CI")
	return ci != "" && ci != "false" && ci != "0"
}

func isTerminal(f *os.File) bool { return f != nil && term.IsTerminal(int(f.Fd())) }

// absolute is the path from the root, or as it is where that is not known.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
