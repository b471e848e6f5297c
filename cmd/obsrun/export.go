package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/obsrun/obsrun/instrument/run"
	"github.com/obsrun/obsrun/report"
	"github.com/obsrun/obsrun/report/export"
)

func exportCommand(w world) *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "a run in somebody else's format",
		UsageText: "obsrun export --format FORMAT [flags] [RUN]",
		Description: "RUN is a run directory, a telemetry.jsonl or run_summary.json in one, a run id or the\n" +
			"beginning of one, latest, or latest~N. Default: latest.\n\nFORMAT is one of\n" + formatList(),
		Flags: []cli.Flag{
			logDirFlag(),
			&cli.StringFlag{Name: "format", Usage: "`FORMAT` to write"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` to write, replaced as a whole (default: standard output)"},
		},
		Action: func(c *cli.Context) error {
			if err := applyFile(c); err != nil {
				return err
			}
			format, err := foreignFormat(c.String("format"))
			if err != nil {
				return err
			}
			ref := "latest"
			switch c.NArg() {
			case 0:
			case 1:
				ref = c.Args().First()
			default:
				return usagef("export takes one RUN, not %s", strings.Join(c.Args().Slice(), " and "))
			}
			path := c.String("output")
			toStdout := path == "" || path == "-"
			if toStdout && format.Binary && isTerminal(w.stdout) {
				return usagef("%s is nothing for a terminal; write it to a file with -o FILE", format.Name)
			}
			r, err := exported(c.String("log-dir"), ref, w)
			if err != nil {
				return err
			}
			if toStdout {
				err = writeTo(w.stdout, format, r)
			} else {
				err = writeOutput(path, format.Binary, func(f io.Writer) error { return writeTo(f, format, r) })
			}
			if err != nil {
				return fmt.Errorf("export %s: %w", format.Name, err)
			}
			return nil
		},
	}
}

// formatList is the table of formats for --help.
func formatList() string {
	var b strings.Builder
	for i, f := range export.Formats() {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "  %-13s %s", f.Name, f.About)
	}
	return b.String()
}

// foreignFormat finds the format of that name.
func foreignFormat(name string) (export.Format, error) {
	var names []string
	var known []*cli.Command // to be searched for the nearest
	for _, f := range export.Formats() {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
		known = append(known, &cli.Command{Name: f.Name})
	}
	all := strings.Join(names, ", ")
	if name == "" {
		return export.Format{}, usagef("export wants a format: obsrun export --format FORMAT, one of %s", all)
	}
	meant := "There are"
	if near := commandNear(&cli.App{Commands: known}, name); near != "" {
		meant = fmt.Sprintf("Did you mean %q? There are", near)
	}
	return export.Format{}, usagef("there is no format %q. %s %s", name, meant, all)
}

// exported reads the run, and says what is not all of it.
func exported(logDir, ref string, w world) (export.Run, error) {
	dir, err := run.Find(logDir, ref)
	if err != nil {
		return export.Run{}, err
	}
	loaded, err := loadedIn(dir, w)
	if errors.Is(err, fs.ErrNotExist) {
		return export.Run{}, fmt.Errorf("%s is not there, and exports are made from it: a summary alone is not enough", run.JournalPath(dir))
	} else if err != nil {
		return export.Run{}, err
	}
	if loaded.Live {
		say(w.stderr, "the run goes on: what is there of it now is exported")
	}
	return export.Run{State: loaded.State, Dir: dir, Version: version,
		Last: lastOf(dir, func(look func(*run.State)) { look(loaded.State) }),
	}, nil
}

func writeTo(f io.Writer, format export.Format, r export.Run) error {
	out := bufio.NewWriterSize(f, 64<<10)
	if err := format.Write(out, r); err != nil {
		return err
	}
	return out.Flush()
}

// writeOutput writes the file at path: all of it, or it stays as it was. A link is
// followed. A device or pipe is written to, but a terminal gets no binary.
func writeOutput(path string, binary bool, write func(io.Writer) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return fmt.Errorf("write %s: it is a directory", path)
	case err == nil && !info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		if binary && isTerminal(f) {
			err = fmt.Errorf("write %s: it is a terminal", path)
		} else {
			err = write(f)
		}
		return errors.Join(err, f.Close())
	}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: there is no directory %s; make it first", path, filepath.Dir(path))
	}
	return report.Replace(path, write)
}
