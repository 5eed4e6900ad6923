package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher/avro"
	"github.com/pgtee/pgtee/publisher/record"
)

// framingFlags determine the encoding of records of rows and messages.
type framingFlags struct {
	Format    string `help:"Form of values: ${enum}. json-schema puts the Kafka Connect schema beside each payload; avro needs --schema-registry." enum:"json,json-schema,avro" default:"json"`
	KeyFormat string `help:"Form of keys: ${enum}." enum:"same,json,json-schema,avro" default:"same"`

	registryFlags            `group:"Kafka"`
	SubjectNameStrategy      string `help:"Name of a schema's subject: ${enum}." enum:"topic,record,topic-record" default:"topic"`
	SchemaNameAdjustmentMode string `help:"How characters that Avro does not allow in names are replaced, by _ or by _uXXXX: ${enum}." enum:"avro,avro_unicode" default:"avro"`
}

// framing returns the Framing, or nil for the bare payload.
func (f framingFlags) framing(log *zap.Logger) (record.Framing, error) {
	keys := f.KeyFormat
	if keys == "" || keys == "same" {
		keys = f.Format
	}
	value, err := f.framingOf(f.Format, log)
	if err != nil || keys == f.Format {
		return value, err
	}
	key, err := f.framingOf(keys, log)
	return framings{key, value}, err
}

func (f framingFlags) framingOf(format string, log *zap.Logger) (record.Framing, error) {
	switch format {
	case "json-schema":
		return &record.ConnectJSON{}, nil
	case "avro":
		return f.avro(log)
	}
	return nil, nil
}

func (f framingFlags) avro(log *zap.Logger) (record.Framing, error) {
	registry, err := f.registry(log)
	if err != nil {
		return nil, err
	}
	subjects, err := avro.ParseSubjectNames(f.SubjectNameStrategy)
	if err != nil {
		return nil, fmt.Errorf("--subject-name-strategy: %w", err)
	}
	names, err := avro.ParseNameAdjustment(f.SchemaNameAdjustmentMode)
	if err != nil {
		return nil, fmt.Errorf("--schema-name-adjustment-mode: %w", err)
	}
	return avro.NewFraming(registry, subjects, names), nil
}

// usesAvro reports whether a registry is needed.
func (f framingFlags) usesAvro() bool { return f.Format == "avro" || f.KeyFormat == "avro" }

// hasSchemas reports whether keys or values are more than the bare payload.
func (f framingFlags) hasSchemas() bool {
	return cmp.Or(f.Format, "json") != "json" || f.KeyFormat == "json-schema" || f.KeyFormat == "avro"
}

// checkFraming validates the flags before any connection is made.
func (f framingFlags) checkFraming() error {
	if !f.usesAvro() {
		if len(f.SchemaRegistry) > 0 {
			return errors.New("--schema-registry is given, but nothing is published as avro: add --format avro")
		}
		return nil
	}
	_, err := f.framing(zap.NewNop())
	return err
}

// pingRegistry checks the registry, for commands that cannot work without it.
func (f framingFlags) pingRegistry(ctx context.Context) error {
	if !f.usesAvro() {
		return nil
	}
	registry, err := f.registry(zap.NewNop())
	if err == nil {
		err = registry.Ping(ctx)
	}
	if err != nil {
		return usage(fmt.Errorf("schema registry %s: %w", strings.Join(f.SchemaRegistry, ","), err))
	}
	return nil
}

// framings frames keys and values differently; nil stands for the bare payload.
type framings struct {
	key, value record.Framing
}

// ContentType returns the content type of values, for CloudEvents.
func (f framings) ContentType() string {
	if typer, ok := f.value.(interface{ ContentType() string }); ok {
		return typer.ContentType()
	}
	return "application/json"
}

// Append implements record.Framing.
func (f framings) Append(ctx context.Context, dst []byte, part record.Part, topic string, schema *record.Schema, payload []byte) ([]byte, error) {
	framing := f.value
	if part == record.KeyPart {
		framing = f.key
	}
	if framing == nil {
		return append(dst, payload...), nil
	}
	return framing.Append(ctx, dst, part, topic, schema, payload)
}
