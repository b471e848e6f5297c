package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// provider is an API that the gateway knows.
type provider struct {
	name string
	// variables hold its base URL, for the SDKs of today and of yesterday. The
	// first that is set counts.
	variables []string
	public    string // the base URL where none is set
	// bypasses are variables that send calls elsewhere, whatever the others say.
	bypasses []string
}

// OpenAI's base URL ends in the API's version, Anthropic's does not.
var providers = []provider{
	{"openai", []string{"OPENAI_BASE_URL", "OPENAI_API_BASE"}, "https://api.openai.com/v1", []string{"AZURE_OPENAI_ENDPOINT"}},
	{"anthropic", []string{"ANTHROPIC_BASE_URL"}, "https://api.anthropic.com", []string{"CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"}},
}

// Providers are the names that Upstreams knows.
func Providers() []string {
	var names []string
	for _, p := range providers {
		names = append(names, p.name)
	}
	return names
}

// Upstream is where the calls to one provider go.
type Upstream struct {
	Provider string
	// URL is the base URL as an SDK would be given it.
	URL *url.URL
	// From says who named it: an environment variable, "flag" or "default".
	From string
}

// String is the address without what could be a secret in it.
func (u Upstream) String() string {
	return u.URL.Scheme + "://" + u.URL.Host + u.URL.EscapedPath()
}

// Upstreams decides where calls go: for each of the named providers what flags
// say, else the environment (KEY=VALUE), else the provider's public address. A
// flag is PROVIDER=URL, or a URL where one provider is named. No file is looked
// at. Errors do not quote URLs, which can hold passwords.
func Upstreams(names, flags, env []string) ([]Upstream, error) {
	var upstreams []Upstream
	for _, name := range names {
		i := slices.IndexFunc(providers, func(p provider) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("gateway: provider %q is not known: say %s", name, strings.Join(Providers(), ", "))
		}
		if slices.ContainsFunc(upstreams, func(u Upstream) bool { return u.Provider == name }) {
			continue
		}
		raw, from := providers[i].public, "default"
		for _, key := range slices.Backward(providers[i].variables) {
			if value := lookup(env, key); value != "" {
				raw, from = value, key
			}
		}
		for _, flag := range flags {
			if base, ok := strings.CutPrefix(flag, name+"="); ok {
				raw, from = base, "flag"
			}
		}
		upstream, err := parseBase(raw)
		if err != nil {
			return nil, fmt.Errorf("gateway: the base URL of %s (%s) %w", name, from, err)
		}
		upstreams = append(upstreams, Upstream{Provider: name, URL: upstream, From: from})
	}
	for _, flag := range flags {
		name, _, ok := strings.Cut(flag, "=")
		switch {
		case ok && !strings.Contains(name, ":"):
			if !slices.ContainsFunc(upstreams, func(u Upstream) bool { return u.Provider == name }) {
				return nil, fmt.Errorf("gateway: an upstream for %q, which is none of the gateway's providers", word(name))
			}
		case len(upstreams) == 1:
			upstream, err := parseBase(flag)
			if err != nil {
				return nil, fmt.Errorf("gateway: the upstream's URL %w", err)
			}
			upstreams[0].URL, upstreams[0].From = upstream, "flag"
		default:
			return nil, errors.New("gateway: say PROVIDER=URL for each upstream, as there are several providers")
		}
	}
	return upstreams, nil
}

func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, errors.New("is no http or https URL")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// lookup finds a variable in an environment; of two the last counts.
func lookup(env []string, key string) string {
	for _, entry := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(entry, key+"="); ok {
			return value
		}
	}
	return ""
}

// maxDotEnv bounds what is read of a .env file.
const maxDotEnv = 64 << 10

// Notes are sentences for people on what can keep calls from the gateway, or make
// them go where they did not go before. The .env in dir, the working directory,
// can have come with somebody else's source code: it is told of, never followed.
func Notes(upstreams []Upstream, dir string, env []string) []string {
	var notes []string
	file := dotEnv(filepath.Join(dir, ".env"))
	for _, u := range upstreams {
		i := slices.IndexFunc(providers, func(p provider) bool { return p.name == u.Provider })
		if i < 0 {
			continue
		}
		for _, key := range providers[i].variables {
			told := file[key]
			if told == "" || sameBase(told, u.URL) {
				continue
			}
			notes = append(notes, fmt.Sprintf(
				"the file .env here sets %s to %s; it is not followed: through the gateway calls to %s go to %s (if the other is right: --gateway-upstream; a program that lets .env overrule its environment passes the gateway by)",
				key, place(told), u.Provider, u))
		}
		for _, key := range providers[i].bypasses {
			if value := lookup(env, key); value != "" && value != "0" && value != "false" {
				notes = append(notes, fmt.Sprintf("%s is set: calls that follow it do not pass the gateway", key))
			}
		}
	}
	return notes
}

// place is the host of a URL from a file, if it can be shown.
func place(raw string) string {
	if u, err := parseBase(raw); err == nil && word(u.Host) != "" {
		return u.Scheme + "://" + u.Host
	}
	return "another address"
}

func sameBase(raw string, u *url.URL) bool {
	other, err := parseBase(raw)
	return err == nil && other.Scheme == u.Scheme && strings.EqualFold(other.Host, u.Host) &&
		strings.TrimSuffix(other.EscapedPath(), "/") == strings.TrimSuffix(u.EscapedPath(), "/")
}

// dotEnv reads the assignments of a .env file that is a plain file.
func dotEnv(path string) map[string]string {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would block
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(file, maxDotEnv))
	if err != nil {
		return nil
	}
	values := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		value = strings.TrimSpace(value)
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') {
			if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
				value = value[1 : 1+end]
			}
		} else if before, _, ok := strings.Cut(value, " #"); ok {
			value = strings.TrimSpace(before)
		}
		values[strings.TrimSpace(key)] = value
	}
	return values
}
