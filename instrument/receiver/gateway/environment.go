package gateway

import (
	"slices"
	"strings"
)

// Environment is what a program that starts with base (KEY=VALUE) needs to call
// through the gateway: variables that are added to base or stand in for those of
// the same name in it. The base URLs keep path and query of the upstream's, so
// that an SDK adds to them what it would add there. Where a proxy is set, this
// machine's address is taken out of its reach: most HTTP clients would ask the
// proxy for it.
func (g *Gateway) Environment(base []string) []string {
	var added []string
	for _, u := range g.upstreams {
		for _, p := range providers {
			if p.name != u.Provider {
				continue
			}
			for _, key := range p.variables {
				added = append(added, key+"="+g.base(u))
			}
		}
	}
	proxied := slices.ContainsFunc([]string{"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"}, func(key string) bool {
		return lookup(base, key) != ""
	})
	if !proxied {
		return added
	}
	upper, lower := lookup(base, "NO_PROXY"), lookup(base, "no_proxy")
	if upper == "" {
		upper = lower
	}
	if lower == "" {
		lower = upper
	}
	return append(added, "NO_PROXY="+withLoopback(upper), "no_proxy="+withLoopback(lower))
}

// withLoopback adds this machine's address to a list of hosts.
func withLoopback(list string) string {
	hosts := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	if slices.Contains(hosts, "*") || slices.Contains(hosts, "127.0.0.1") {
		return list
	}
	return strings.Join(append(hosts, "127.0.0.1"), ",")
}

// base is the address that stands in for an upstream's base URL.
func (g *Gateway) base(u Upstream) string {
	own := *u.URL
	own.Scheme, own.Host = "http", g.address
	own.Path = g.prefix + u.Provider + own.Path
	if own.RawPath != "" {
		own.RawPath = g.prefix + u.Provider + own.RawPath
	}
	return own.String()
}
