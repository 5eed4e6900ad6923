package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/pgtee/pgtee/publisher/debezium"
)

// envelopeFlags determine the form of row values.
type envelopeFlags struct {
	Envelope     string   `help:"Form of a row record's value: ${enum}. flat: the row alone; plain: JSON for people; cloudevents: attributes in the value; cloudevents-binary: attributes in headers." enum:"debezium,flat,plain,cloudevents,cloudevents-binary" default:"debezium"`
	FlatDeletes  string   `help:"With --envelope flat, what a delete becomes: ${enum}. rewrite is the old row with __deleted; delete-to-tombstone is the same as tombstone." enum:"tombstone,delete-to-tombstone,drop,rewrite,rewrite-with-tombstone" default:"tombstone"`
	FlatHeaders  []string `help:"With --envelope flat, fields to add as headers, with the same names as in --flat-fields; not pgtee." placeholder:"FIELD"`
	FlatPrefix   string   `help:"Prefix of the names of --flat-fields." default:"__" placeholder:"TEXT"`
	HeaderPrefix string   `name:"flat-header-prefix" help:"Prefix of the names of --flat-headers." default:"__" placeholder:"TEXT"`
	FlatFields   []string `help:"With --envelope flat, fields to add to the row: op, ts_ms, pgtee, or a field of source or transaction, such as table, source.ts_ms, lsn:position." placeholder:"FIELD"`
}

func (f envelopeFlags) envelope() (debezium.Envelope, debezium.FlatConfig, error) {
	var flat debezium.FlatConfig
	envelope, err := debezium.ParseEnvelope(cmp.Or(f.Envelope, "debezium"))
	if err != nil {
		return 0, flat, fmt.Errorf("--envelope: %w", err)
	}
	if flat.Deletes, err = debezium.ParseDeleteMode(cmp.Or(f.FlatDeletes, "tombstone")); err != nil {
		return 0, flat, fmt.Errorf("--flat-deletes: %w", err)
	}
	if flat.Fields, err = debezium.ParseFlatFields(f.FlatFields, f.FlatPrefix); err != nil {
		return 0, flat, fmt.Errorf("--flat-fields: %w", err)
	}
	if slices.Contains(f.FlatHeaders, "pgtee") {
		return 0, flat, errors.New("--flat-headers cannot include pgtee: add it to --flat-fields")
	}
	if flat.Headers, err = debezium.ParseFlatFields(f.FlatHeaders, f.HeaderPrefix); err != nil {
		return 0, flat, fmt.Errorf("--flat-headers: %w", err)
	}
	return envelope, flat, nil
}

// checkEnvelope validates the flags before any connection is made.
func (f envelopeFlags) checkEnvelope(framing framingFlags) error {
	envelope, flat, err := f.envelope()
	switch {
	case err != nil:
		return err
	case envelope != debezium.Flat && (flat.Deletes != debezium.DeleteTombstone || len(flat.Fields)+len(flat.Headers) > 0):
		return errors.New("--flat-deletes, --flat-fields and --flat-headers need --envelope flat")
	case envelope == debezium.Plain && framing.hasSchemas():
		return errors.New("--envelope plain has no schema: choose --format json, or another envelope")
	}
	return nil
}
