package main

import (
	"context"
	"os"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// fileConfig says where the spans go.
type fileConfig struct {
	Path string `mapstructure:"path"`
}

// fileFactory makes an exporter that appends each request to a file as a line of
// OTLP/JSON, which is what the one named file of the contributed components does; the
// Go proxy does not have all modules of that.
func fileFactory() exporter.Factory {
	return exporter.NewFactory(component.MustNewType("file"), func() component.Config { return new(fileConfig) },
		exporter.WithTraces(func(ctx context.Context, set exporter.Settings, config component.Config) (exporter.Traces, error) {
			file, err := os.OpenFile(config.(*fileConfig).Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			if err != nil {
				return nil, err
			}
			var marshal ptrace.JSONMarshaler
			return exporterhelper.NewTraces(ctx, set, config, func(_ context.Context, traces ptrace.Traces) error {
				line, err := marshal.MarshalTraces(traces)
				if err != nil {
					return err
				}
				_, err = file.Write(append(line, '\n'))
				return err
			}, exporterhelper.WithShutdown(func(context.Context) error { return file.Close() }))
		}, component.StabilityLevelDevelopment))
}
