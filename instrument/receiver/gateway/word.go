package gateway

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/obsrun/obsrun/instrument/telemetry"
)

// unescape gives the text of a JSON string without its quotes. The string may
// have been cut anywhere.
func unescape(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return strings.ToValidUTF8(string(b), "")
	}
	quoted := make([]byte, 0, len(b)+2)
	quoted = append(append(append(quoted, '"'), b...), '"')
	var s string
	for cut := 0; cut <= 12 && len(quoted) >= 2; cut++ { // the longest escape is a surrogate pair
		if json.Unmarshal(quoted, &s) == nil {
			return strings.ToValidUTF8(s, "")
		}
		quoted = append(quoted[:len(quoted)-2], '"')
	}
	return ""
}

const maxWord = 128

// plain has the bytes that a word can have.
var plain = func() (set [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/@+=[]") {
		set[c] = true
	}
	return set
}()

// word gives text that looks like an identifier as it is, and nothing for any
// other: what others wrote is kept only if it can be no sentence.
func word(s string) string {
	if len(s) > maxWord {
		return ""
	}
	for i := range len(s) {
		if !plain[s[i]] {
			return ""
		}
	}
	if isSecret(s) {
		return ""
	}
	return s
}

// isSecret tells whether a word begins as well-known keys do.
func isSecret(s string) bool {
	for _, prefix := range []string{"sk-", "sk_", "pk-", "rk_", "ghp_", "gho_", "github_pat_", "glpat-", "xox", "AKIA", "AIza", "eyJ", "hf_"} {
		if strings.HasPrefix(s, prefix) && len(s) >= 16 {
			return true
		}
	}
	return false
}

// wordOf is word of a JSON string without its quotes. One with an escape is seldom a
// word, and one without needs no reading.
func wordOf(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		if len(b) > maxWord {
			return ""
		}
		return word(string(b))
	}
	return word(unescape(b))
}

// largest raises a counter to the number in b, if that is one that can be
// believed.
func largest(n *telemetry.Int, b []byte) {
	v, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(string(b), 64)
		if err != nil || !(f >= 0 && f <= telemetry.MaxCount) {
			return
		}
		v = int64(f)
	}
	if v < 0 || v > telemetry.MaxCount {
		return
	}
	if !n.OK || v > n.N {
		*n = telemetry.N(v)
	}
}
