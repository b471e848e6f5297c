package main

import (
	"net/url"
	"path/filepath"
	"strings"
)

const masked = "***"

var (
	// secretKey is a name whose value is not for others to see.
	secretKey = newPattern(`(?i)(api[-_]?key|secret|token|passw(or)?d|passphrase|credential|authorization|private[-_]?key|access[-_]?key|auth[-_]?key|bearer|signature|cookie|(^|[-_])(key|pass|pwd|sig|headers)$)`)
	// secretValue is a value that gives itself away: the prefixes that providers
	// put before their keys. The shortest has 11 bytes.
	secretValue = patternWith("", 11, `\b(sk-[A-Za-z0-9_-]{8,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{12,}|AIza[0-9A-Za-z_-]{20,}|ASIA[0-9A-Z]{12,}|hf_[A-Za-z0-9]{16,}|[sr]k_(live|test)_[A-Za-z0-9]{10,}|(gsk|fw|npm|r8|pat)_[A-Za-z0-9]{16,}|(xai|pplx|nvapi|tvly|csk|pypi|xapp)-[A-Za-z0-9_-]{16,}|lsv2_(pt|sk)_[A-Za-z0-9_]{16,}|dapi[0-9a-f]{32}|hvs\.[A-Za-z0-9_-]{16,}|ya29\.[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*)`)
	assignment  = patternWith("=", 0, `^(-{0,2}[A-Za-z][A-Za-z0-9_.-]*)=(.*)$`)
	bearer      = patternWith(" \t\n\f\r", 0, `(?i)\b(bearer|basic)\s+\S+`)
	header      = patternWith(":", 0, `^([A-Za-z][A-Za-z0-9-]*):\s*\S`)
	inText      = patternWith("=", 0, `([A-Za-z][A-Za-z0-9_]*)=("[^"]*"|'[^']*'|[^\s;&|]+)`)
	flagInText  = patternWith(" \t\n\f\r", 0, `(^|\s)(--?[A-Za-z][A-Za-z0-9_-]*)(\s+)("[^"]*"|'[^']*'|[^\s;&|-][^\s;&|]*)`)
	inJSON      = patternWith(`"`, 0, `"([A-Za-z][A-Za-z0-9_-]*)"(\s*:\s*)"(?:[^"\\]|\\.)*"`)
	credentials = patternWith(":", 0, `^[^\s:/]+:[^\s]*[^\s\d][^\s]*$`) // 1000:1000 is none
	urlInText   = patternWith(":", 0, `[A-Za-z][A-Za-z0-9+.-]*://\S+`)
	userInfo    = patternWith("@", 0, `://[^\s/]*@`)
	// shellWord is a word of a shell's text, or what separates its commands.
	shellWord = newPattern(`(?:"[^"]*"|'[^']*'|[^\s;&|()"'])+|[;&|()\n]+`)
)

// passwordFlags are the programs whose password stands behind a flag of one letter,
// mostly stuck to it. Elsewhere -p is a port, a prefix or a path, so nothing is
// guessed of other programs.
var passwordFlags = map[string]passwordFlag{
	"mysql": {flag: "-p"}, "mysqldump": {flag: "-p"}, "mysqladmin": {flag: "-p"}, "mariadb": {flag: "-p"}, "mariadb-dump": {flag: "-p"},
	"7z": {flag: "-p"}, "7za": {flag: "-p"}, "sshpass": {flag: "-p", apart: true}, "redis-cli": {flag: "-a", apart: true},
	"ldapsearch": {flag: "-w", apart: true}, "ldapmodify": {flag: "-w", apart: true}, "curl": {flag: "-u", apart: true, user: true},
}

type passwordFlag struct {
	flag  string
	apart bool // it may be the next word
	user  bool // user:password
}

func (f passwordFlag) mask(value string) string {
	if user, _, ok := strings.Cut(value, ":"); ok && f.user {
		return user + ":" + masked
	}
	return masked
}

// passwords masks the passwords of passwordFlags, word by word of a command.
type passwords struct {
	of   passwordFlag
	next bool
}

func (p *passwords) word(word string) string {
	if p.next {
		p.next = false
		return p.of.mask(word)
	}
	if known, ok := passwordFlags[filepath.Base(word)]; ok {
		p.of = known
		return word
	}
	value, ok := strings.CutPrefix(word, p.of.flag)
	switch {
	case !ok || p.of.flag == "":
		return word
	case value == "":
		p.next = p.of.apart
		return word
	}
	return p.of.flag + p.of.mask(value)
}

// text masks within an argument that is a shell's text.
func (p *passwords) text(text string) string {
	return shellWord.ReplaceAllStringFunc(text, func(word string) string {
		if strings.ContainsAny(word[:1], ";&|()\n") {
			*p = passwords{}
			return word
		}
		quote := word[:1]
		if inner, ok := strings.CutSuffix(word[1:], quote); ok && !p.next && strings.ContainsAny(quote, `"'`) && strings.ContainsAny(inner, " \t\n") {
			return quote + new(passwords).text(inner) + quote // a command in a command
		}
		return p.word(word)
	})
}

// isSecretKey tells whether a name is that of a secret. Numbers of tokens are none.
func isSecretKey(name string) bool {
	return secretKey.MatchString(strings.ReplaceAll(strings.ToLower(name), "tokens", ""))
}

// maskSecrets gives the command line as it may be kept.
func maskSecrets(command []string) []string {
	out := make([]string, 0, len(command))
	hideNext := false
	var stuck passwords
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
		if strings.ContainsAny(arg, " \t\n") {
			arg = new(passwords).text(arg)
		} else {
			arg = stuck.word(arg)
		}
		// A flag such as --api-key has its secret behind it.
		hideNext = strings.HasPrefix(arg, "-") && !strings.Contains(arg, "=") && isSecretKey(arg)
		arg = secretValue.ReplaceAllString(arg, masked)
		arg = bearer.ReplaceAllString(arg, "$1 "+masked)
		arg = maskAssignments(arg, 0)
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

// deepest is how many assignments may stand in one another's values. Nobody writes
// that many; what is below is masked, so that a line made to be slow is not.
const deepest = 8

// maskAssignments masks the values of secret names within a text, also of one that
// stands in the value of another: --url=https://host/?key=abc.
func maskAssignments(text string, depth int) string {
	if depth == deepest {
		return masked
	}
	return inText.ReplaceAllStringFunc(text, func(text string) string {
		key, value, _ := strings.Cut(text, "=")
		if isSecretKey(key) {
			return key + "=" + masked
		}
		return key + "=" + maskAssignments(value, depth+1)
	})
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
