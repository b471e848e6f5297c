package main

import (
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// The layout of --help, in columns.
const (
	helpWidth  = 100
	helpIndent = 3
	helpColumn = 28 // where the text of an option begins
)

// layOut gives the app and its commands help that fits a terminal: cli has one line
// for each flag, however long.
func layOut(app *cli.App) {
	app.CustomAppHelpTemplate = optionsIn(cli.AppHelpTemplate, "OPTIONS", append(app.Flags, &cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version"}))
	for _, c := range app.Commands {
		c.CustomHelpTemplate = optionsIn(cli.CommandHelpTemplate, "OPTIONS", c.Flags)
	}
}

// optionsIn is cli's template with our list of options at its end.
func optionsIn(template, head string, flags []cli.Flag) string {
	before, _, _ := strings.Cut(template, "{{if .VisibleFlagCategories}}")
	var b strings.Builder
	for _, f := range append(flags, &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show this"}) {
		if f, ok := f.(cli.DocGenerationFlag); ok {
			writeOption(&b, f)
		}
	}
	return before + "\n\n" + head + ":\n" + strings.ReplaceAll(b.String(), "{{", `{{"{{"}}`)
}

// writeOption writes a flag, what it means, what it is where it is not given, and its
// environment twin.
func writeOption(b *strings.Builder, f cli.DocGenerationFlag) {
	value, usage := "", f.GetUsage()
	if before, rest, ok := strings.Cut(usage, "`"); ok {
		name, after, _ := strings.Cut(rest, "`")
		value, usage = name, before+name+after
	}
	var names []string
	for _, name := range f.Names() {
		dashes := "--"
		if len(name) == 1 {
			dashes = "-"
		}
		names = append(names, dashes+name)
	}
	head := strings.Join(names, ", ")
	if f.TakesValue() {
		if value == "" {
			value = "VALUE"
		}
		head += " " + value
	}
	words := strings.Fields(usage)
	if text := f.GetDefaultText(); text != "" && text != `""` && f.TakesValue() && !strings.Contains(usage, "(default:") {
		words = append(words, "(default:", strings.Trim(text, `"`)+")")
	}
	if env := f.GetEnvVars(); len(env) > 0 {
		words = append(words, "[$"+env[0]+"]")
	}
	line := strings.Repeat(" ", helpIndent) + head
	if utf8.RuneCountInString(line)+2 > helpColumn {
		b.WriteString(line + "\n")
		line = ""
	}
	for _, word := range words {
		switch n := utf8.RuneCountInString(line); {
		case n < helpColumn:
			line += strings.Repeat(" ", helpColumn-n) + word
		case n+1+utf8.RuneCountInString(word) > helpWidth:
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", helpColumn) + word
		default:
			line += " " + word
		}
	}
	b.WriteString(line + "\n")
}
