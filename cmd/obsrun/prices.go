package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/obsrun/obsrun/report"
)

// maxPrices is the largest file of prices that is read, in bytes.
const maxPrices = 1 << 20

var yamlLine = newPattern(`line \d+`)

// readPrices reads a table of prices, YAML or JSON, in US dollars a million tokens:
//
//	date: 2026-04-01
//	models:
//	  claude-sonnet-4: {input: 3, output: 15, cached: 0.3}
//
// The error names the file and what is wrong in it.
func readPrices(path string) (report.Prices, error) {
	f, err := os.Open(path)
	if err != nil {
		return report.Prices{}, fmt.Errorf("read prices: %w", err)
	}
	defer f.Close()
	dec := yaml.NewDecoder(io.LimitReader(f, maxPrices))
	dec.KnownFields(true)
	var file struct {
		Date   string `yaml:"date"`
		Models map[string]struct {
			Input  *float64 `yaml:"input"`
			Output *float64 `yaml:"output"`
			Cached *float64 `yaml:"cached"`
		} `yaml:"models"`
	}
	if err := dec.Decode(&file); err != nil {
		where := "it" // what the package says has Go types in it
		if line := yamlLine.FindString(err.Error()); line != "" {
			where = line
		}
		return report.Prices{}, fmt.Errorf("read prices %s: %s is no table of prices; write models: {NAME: {input: 3, output: 15, cached: 0.3}}, in US dollars a million tokens", path, where)
	}
	prices := report.Prices{From: path, Date: file.Date}
	for _, name := range slices.Sorted(maps.Keys(file.Models)) {
		row := file.Models[name]
		if row.Input == nil || row.Output == nil {
			return report.Prices{}, fmt.Errorf("read prices %s: %s wants input and output, in US dollars a million tokens", path, name)
		}
		for _, usd := range []*float64{row.Input, row.Output, row.Cached} {
			if usd != nil && !(*usd >= 0 && *usd <= 1e6) {
				return report.Prices{}, fmt.Errorf("read prices %s: %s costs %v, which no model does", path, name, *usd)
			}
		}
		prices.Models = append(prices.Models, report.Price{Model: name, Input: *row.Input, Output: *row.Output, Cached: row.Cached})
	}
	if len(prices.Models) == 0 {
		return report.Prices{}, fmt.Errorf("read prices %s: there is no model in it", path)
	}
	return prices, nil
}
