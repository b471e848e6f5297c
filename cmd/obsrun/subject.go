package main

import (
	"context"
	"net/url"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// namePattern is what a run's name may look like.
var namePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,47}$`)

// nameOf makes the first part of the run id of what is run: the first operand
// that can be one, else the program's name.
func nameOf(command []string) string {
	command = maskSecrets(command) // "***" is no name
	for _, arg := range command[1:] {
		if namePattern.MatchString(arg) {
			return arg
		}
	}
	base := regexp.MustCompile(`[^A-Za-z0-9._-]+`).ReplaceAllString(filepath.Base(command[0]), "-")
	base = strings.TrimRight(strings.TrimLeft(base, "0123456789._-"), "-")
	if base = base[:min(len(base), 48)]; !namePattern.MatchString(base) {
		return "run"
	}
	return base
}

const masked = "***"

var (
	// secretKey is a name whose value is not for others to see.
	secretKey = regexp.MustCompile(`(?i)(api[-_]?key|secret|token|passw(or)?d|passphrase|credential|authorization|private[-_]?key|access[-_]?key|auth[-_]?key|bearer|(^|[-_])(key|pass|pwd|headers)$)`)
	// secretValue is a value that gives itself away: the prefixes that providers
	// put before their keys.
	secretValue = regexp.MustCompile(`\b(sk-[A-Za-z0-9_-]{8,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{12,}|AIza[0-9A-Za-z_-]{20,}|hf_[A-Za-z0-9]{16,}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*)`)
	assignment  = regexp.MustCompile(`^(-{0,2}[A-Za-z][A-Za-z0-9_.-]*)=(.*)$`)
	bearer      = regexp.MustCompile(`(?i)\b(bearer|basic)\s+\S+`)
	header      = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*):\s*\S`)
	inText      = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_]*)=("[^"]*"|'[^']*'|[^\s;&|]+)`)
	flagInText  = regexp.MustCompile(`(^|\s)(--?[A-Za-z][A-Za-z0-9_-]*)(\s+)("[^"]*"|'[^']*'|[^\s;&|-][^\s;&|]*)`)
	inJSON      = regexp.MustCompile(`"([A-Za-z][A-Za-z0-9_-]*)"(\s*:\s*)"(?:[^"\\]|\\.)*"`)
	credentials = regexp.MustCompile(`^[^\s:/]+:[^\s]*[^\s\d][^\s]*$`) // 1000:1000 is none
	urlInText   = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://\S+`)
	userInfo    = regexp.MustCompile(`://[^\s/]*@`)
)

// isSecretKey tells whether a name is that of a secret. Numbers of tokens are none.
func isSecretKey(name string) bool {
	return secretKey.MatchString(strings.ReplaceAll(strings.ToLower(name), "tokens", ""))
}

// maskSecrets gives the command line as it may be kept.
func maskSecrets(command []string) []string {
	out := make([]string, 0, len(command))
	hideNext := false
	for i, arg := range command {
		script := i > 0 && command[i-1] == "-c" // of a shell: several words
		switch m := assignment.FindStringSubmatch(arg); {
		case hideNext && !strings.HasPrefix(arg, "--"):
			arg, hideNext = masked, false
			out = append(out, arg)
			continue
		case m != nil && isSecretKey(m[1]) && !script:
			arg = m[1] + "=" + masked
		case m != nil && strings.HasSuffix(m[1], "header") && header.MatchString(m[2]) && isSecretKey(m[2][:strings.IndexByte(m[2], ':')]):
			arg = m[1] + "=" + m[2][:strings.IndexByte(m[2], ':')] + ": " + masked
		case i > 0 && (command[i-1] == "-u" || command[i-1] == "--user") && credentials.MatchString(arg):
			arg = arg[:strings.IndexByte(arg, ':')+1] + masked
		case header.MatchString(arg) && isSecretKey(arg[:strings.IndexByte(arg, ':')]):
			arg = arg[:strings.IndexByte(arg, ':')] + ": " + masked
		}
		// A flag such as --api-key has its secret behind it.
		hideNext = strings.HasPrefix(arg, "-") && !strings.Contains(arg, "=") && isSecretKey(arg)
		arg = secretValue.ReplaceAllString(arg, masked)
		arg = bearer.ReplaceAllString(arg, "$1 "+masked)
		arg = inText.ReplaceAllStringFunc(arg, func(text string) string {
			if key, _, _ := strings.Cut(text, "="); isSecretKey(key) {
				return key + "=" + masked
			}
			return text
		})
		arg = inJSON.ReplaceAllStringFunc(arg, func(text string) string {
			m := inJSON.FindStringSubmatch(text)
			if isSecretKey(m[1]) {
				return `"` + m[1] + `"` + m[2] + `"` + masked + `"`
			}
			return text
		})
		arg = flagInText.ReplaceAllStringFunc(arg, func(text string) string {
			m := flagInText.FindStringSubmatch(text)
			if isSecretKey(m[2]) {
				return m[1] + m[2] + m[3] + masked
			}
			return text
		})
		out = append(out, urlInText.ReplaceAllStringFunc(arg, cutUserInfo))
	}
	return out
}

// cutUserInfo takes user and password out of a URL, also of one that has a
// password in it which should have been escaped.
func cutUserInfo(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return userInfo.ReplaceAllString(text, "://")
	}
	if u.User == nil || u.Host == "" {
		return text
	}
	u.User = nil
	return u.String()
}

// workTree finds what the git work tree in the current directory is, empty where
// there is none or git is slow.
func workTree(ctx context.Context) (repo, commit string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	git := func(args ...string) string {
		out, err := osexec.CommandContext(ctx, "git", args...).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	if commit = git("rev-parse", "--verify", "--short", "HEAD"); commit == "" {
		return "", ""
	}
	if repo = cutUserInfo(git("config", "--get", "remote.origin.url")); repo == "" {
		repo = git("rev-parse", "--show-toplevel")
	}
	return repo, commit
}
