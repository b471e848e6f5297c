package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"
)

// defaultsFile may keep defaults of flags in the working directory.
const defaultsFile = "obsrun.yaml"

// unsafeKeys can not be set by the file: it may have come with somebody's
// checkout, and these open the run to others.
var unsafeKeys = []string{"listen", "allow-host", "insecure", "tls-cert", "tls-key"}

// applyFile sets what neither a flag nor the environment has set from obsrun.yaml.
func applyFile(c *cli.Context) error {
	text, err := os.ReadFile(defaultsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read %s: %w", defaultsFile, err)
	}
	var defaults map[string]any
	if err := yaml.Unmarshal(text, &defaults); err != nil {
		return fmt.Errorf("read %s: %w", defaultsFile, err)
	}
	for _, key := range slices.Sorted(maps.Keys(defaults)) {
		if slices.Contains(unsafeKeys, key) {
			return fmt.Errorf("%s can not set %s, it may come from a stranger; use --%s or %s", defaultsFile, key, key, twin(key)[0])
		}
		if flagNamed(runFlags(), key) == nil {
			return fmt.Errorf("%s sets %s, which is no flag; did you mean %s?", defaultsFile, key,
				strings.TrimLeft(cli.SuggestFlag(runFlags(), key, true), "-"))
		}
		if flagNamed(c.Command.Flags, key) == nil && flagNamed(c.App.Flags, key) == nil || c.IsSet(key) {
			continue
		}
		values, isList := defaults[key].([]any)
		if !isList {
			values = []any{defaults[key]}
		}
		for _, value := range values {
			text := fmt.Sprint(value)
			if key == "log-dir" && !filepath.IsLocal(text) {
				return fmt.Errorf("%s can not put log-dir outside the working directory; use --log-dir", defaultsFile)
			}
			if err := c.Set(key, text); err != nil {
				return fmt.Errorf("%s: %s: %w", defaultsFile, key, err)
			}
		}
	}
	return nil
}
