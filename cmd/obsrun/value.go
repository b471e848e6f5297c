package main

import "strconv"

// What cli says of a value that it can not read, of a flag and of a flag's variable. It
// quotes the value as Go does.
var (
	flagValue = newPattern(`^invalid (boolean )?value (".*") for (?:flag )?-([\w-]+): `)
	twinValue = newPattern(`^could not parse (".*") as (\w+) value from environment variable "(\w+)" `)
)

// slipIn says for a person what cli found wrong with a command line.
func slipIn(err error) error {
	text := err.Error()
	if m := flagValue.FindStringSubmatch(text); m != nil {
		dashes := "--"
		if len(m[3]) == 1 {
			dashes = "-"
		}
		if m[1] != "" {
			return usagef("%s%s=%s: say true or false", dashes, m[3], unquoted(m[2]))
		}
		return usagef("%s%s %s: say %s", dashes, m[3], unquoted(m[2]), numberInPlaceOf(unquoted(m[2])))
	}
	if m := twinValue.FindStringSubmatch(text); m != nil {
		value := unquoted(m[1])
		wanted := numberInPlaceOf(value)
		if m[2] == "bool" {
			wanted = "true or false"
		}
		return usagef("%s=%s in the environment: say %s", m[3], value, wanted)
	}
	return usagef("%v; see obsrun --help", err)
}

// numberInPlaceOf says which number is wanted where the value is none, or is one and
// still not it.
func numberInPlaceOf(value string) string {
	if _, err := strconv.ParseFloat(value, 64); err == nil {
		return "a whole number that is not too large"
	}
	return "a number"
}

func unquoted(text string) string {
	if plain, err := strconv.Unquote(text); err == nil {
		return plain
	}
	return text
}
