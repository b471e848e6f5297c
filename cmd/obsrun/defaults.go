package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"

	"github.com/obsrun/obsrun/instrument/run"
)

// defaultsFile may keep defaults of flags in the working directory.
const defaultsFile = "obsrun.yaml"

// unsafeKeys can not be set by the file: it may have come with somebody's
// checkout, and these open the run to others.
var unsafeKeys = []string{"listen", "allow-host", "insecure", "tls-cert", "tls-key", "gateway", "gateway-upstream", "otlp-export", "otlp-export-headers"}

// insideKeys say where something is written. The file can name no place but in the
// working directory.
var insideKeys = []string{"log-dir", "junit", "markdown"}

// maxDefaults is the largest file of defaults that is read, in bytes.
const maxDefaults = 1 << 20

// readDefaults reads the file of defaults. A checkout can have a link there, to a
// device that never ends.
func readDefaults() ([]byte, error) {
	if link, err := filepath.EvalSymlinks(defaultsFile); err == nil && link == os.DevNull {
		return nil, nil // which is how a file is masked
	}
	file, err := run.Open(defaultsFile)
	if errors.Is(err, run.ErrNotRegular) {
		return nil, errors.New("it is no regular file: remove it, or put a file in its place")
	} else if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxDefaults+1))
	if len(text) > maxDefaults {
		err = fmt.Errorf("it is larger than %d MiB", maxDefaults>>20)
	}
	return text, err
}

// applyFile sets what neither a flag nor the environment has set from obsrun.yaml.
func applyFile(c *cli.Context) error {
	text, err := readDefaults()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read %s: %w", defaultsFile, err)
	}
	var defaults map[string]any
	if err := yaml.Unmarshal(text, &defaults); err != nil {
		return fmt.Errorf("read %s: %w", defaultsFile, err)
	}
	decided := func(key string) bool {
		return flagNamed(c.Command.Flags, key) == nil && flagNamed(c.App.Flags, key) == nil || c.IsSet(key)
	}
	above := make(map[string]bool) // decided by a flag or the environment
	for _, f := range runFlags() {
		for _, name := range f.Names() {
			above[name] = decided(name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(defaults)) {
		if slices.Contains(unsafeKeys, key) {
			return fmt.Errorf("%s can not set %s, it may come from a stranger; use --%s or %s", defaultsFile, key, key, twin(key)[0])
		}
		if flagNamed(runFlags(), key) == nil {
			return fmt.Errorf("%s sets %s, which is no flag; did you mean %s?", defaultsFile, key,
				strings.TrimLeft(cli.SuggestFlag(runFlags(), key, true), "-"))
		}
		if above[key] || above[opposite(key)] || defaults[key] == nil {
			continue
		}
		values, isList := defaults[key].([]any)
		if !isList {
			values = []any{defaults[key]}
		}
		for _, value := range values {
			text := fmt.Sprint(value)
			if slices.Contains(insideKeys, key) && !staysInside(text) {
				return fmt.Errorf("%s can not put %s outside the working directory; use --%s", defaultsFile, key, key)
			}
			if err := c.Set(key, text); err != nil {
				return fmt.Errorf("%s: %s: %w", defaultsFile, key, err)
			}
		}
	}
	return nil
}

// opposite is the flag that says the contrary, empty where there is none.
func opposite(key string) string {
	switch key {
	case "open", "record":
		return "no-" + key
	case "no-open", "no-record":
		return strings.TrimPrefix(key, "no-")
	}
	return ""
}

// staysInside tells whether a path stays in the working directory. A link on its
// way may have come with the file that names it, so links are followed.
func staysInside(path string) bool {
	if !filepath.IsLocal(path) {
		return false
	}
	root, err := filepath.EvalSymlinks(".")
	if err != nil {
		return false
	}
	for there := filepath.Clean(path); there != "."; there = filepath.Dir(there) {
		if _, err := os.Lstat(there); errors.Is(err, fs.ErrNotExist) {
			continue // made anew, so no link
		}
		target, err := filepath.EvalSymlinks(there)
		if err != nil {
			return false
		}
		inside, err := filepath.Rel(absolute(root), absolute(target))
		return err == nil && filepath.IsLocal(inside)
	}
	return true
}
