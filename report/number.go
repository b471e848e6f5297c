package report

import (
	"fmt"
	"math"
	"strconv"
)

// unit says how the values of a measure are written.
type unit int

const (
	number unit = iota
	milliseconds
	dollars
	decimal // a number that is mostly a small average
)

func (u unit) text(v float64) string {
	switch u {
	case milliseconds:
		return duration(int64(v))
	case dollars:
		return cost(v)
	case decimal:
		if v != math.Trunc(v) && math.Abs(v) < 1000 {
			return strconv.FormatFloat(v, 'f', 1, 64)
		}
	}
	return count(int64(v))
}

// change writes a difference, with its sign.
func (u unit) change(v float64) string {
	if v > 0 {
		return "+" + u.text(v)
	}
	return u.text(v)
}

// Count writes a number as this package's texts do: 1,842,000.
func Count(n int64) string { return count(n) }

// Duration writes milliseconds as this package's texts do: 14.82s, 5m 12.5s.
func Duration(ms int64) string { return duration(ms) }

// count writes a number exactly, with commas: 1,842,000.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// duration writes milliseconds: 850ms, 14.82s, 5m 12.5s, 2h 03m 12s.
func duration(ms int64) string {
	if ms < 0 {
		if ms == math.MinInt64 {
			ms++
		}
		return "-" + duration(-ms)
	}
	centis, tenths, seconds := (ms+5)/10, (ms+50)/100, (ms+500)/1000
	switch {
	case ms < 1000:
		return fmt.Sprintf("%dms", ms)
	case centis < 60*100:
		return fmt.Sprintf("%d.%02ds", centis/100, centis%100)
	case tenths < 3600*10:
		return fmt.Sprintf("%dm %02d.%ds", tenths/600, tenths/10%60, tenths%10)
	}
	return fmt.Sprintf("%sh %02dm %02ds", count(seconds/3600), seconds/60%60, seconds%60)
}

// cost writes US dollars; small amounts to the hundredth of a cent.
func cost(usd float64) string {
	sign := ""
	if usd < 0 {
		sign, usd = "-", -usd
	}
	switch {
	case usd == 0:
		return "$0"
	case usd < 1:
		return fmt.Sprintf("%s$%.4f", sign, usd)
	case usd < 1e15:
		cents := int64(math.Round(usd * 100))
		return fmt.Sprintf("%s$%s.%02d", sign, count(cents/100), cents%100)
	}
	return fmt.Sprintf("%s$%.3g", sign, usd)
}

// percentage writes a change in percent, n/a where there is none to tell.
func percentage(p *float64) string {
	switch {
	case p == nil:
		return "n/a"
	case *p == 0:
		return "0%"
	case math.Abs(*p) >= 1e6:
		return fmt.Sprintf("%+.1e%%", *p)
	case math.Abs(*p) >= 1000:
		return fmt.Sprintf("%+.0f%%", *p)
	}
	return fmt.Sprintf("%+.1f%%", *p)
}

// clock writes a time within the run: +0:12.3, +1:05:00.0.
func clock(ms int64) string {
	sign := "+"
	if ms < 0 {
		sign, ms = "-", -max(ms, -math.MaxInt64)
	}
	tenths := ms / 100
	if tenths < 36000 {
		return fmt.Sprintf("%s%d:%02d.%d", sign, tenths/600, tenths/10%60, tenths%10)
	}
	return fmt.Sprintf("%s%d:%02d:%02d.%d", sign, tenths/36000, tenths/600%60, tenths/10%60, tenths%10)
}

// plural is the noun for so many.
func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// some writes "no errors", "1 error", "12 errors"; the plural is the noun with an
// s where none is given.
func some(n int64, noun string, plural ...string) string {
	if n == 1 {
		return "1 " + noun
	}
	noun += "s"
	if len(plural) > 0 {
		noun = plural[0]
	}
	if n == 0 {
		return "no " + noun
	}
	return count(n) + " " + noun
}
