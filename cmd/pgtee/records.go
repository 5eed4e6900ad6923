package main

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher/debezium"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// recordFlags say what is published and what records look like, with the names of Debezium's settings where it has the same. Every command that
// publishes has all of them.
type recordFlags struct {
	shapeFlags                  `group:"Shape of the stream"`
	valueFlags                  `group:"Forms of values"`
	envelopeFlags               `group:"Records"`
	framingFlags                `group:"Records"`
	ProvideTransactionMetadata  bool     `help:"Publish a record in PREFIX.transaction at the start and end of each transaction, and a transaction block in the records of rows."`
	ExtendedHeaders             bool     `help:"Add the headers __debezium.context.*, which name the connector, to records of rows." default:"true" negatable:""`
	Tombstones                  bool     `help:"Publish a tombstone, which is a record without a value, after each delete, for compaction. With --envelope flat it concerns only the tombstone beside a rewritten delete: see --flat-deletes." default:"true" negatable:""`
	SkipTruncate                bool     `help:"Publish no records of TRUNCATE, like --skipped-operations t."`
	SkippedOperations           []string `help:"Publish no records of these operations: c (INSERT), u (UPDATE), d (DELETE), t (TRUNCATE), or none." default:"none" placeholder:"OP"`
	SkipMessagesWithoutChange   bool     `help:"Publish no records of UPDATEs that leave the published columns unchanged. Needs the old row: REPLICA IDENTITY FULL."`
	ColumnPropagateSourceType   []string `help:"Put the PostgreSQL type, length and scale of these columns into the parameters of their schemas: patterns of SCHEMA.TABLE.COLUMN." placeholder:"GLOB"`
	DatatypePropagateSourceType []string `help:"Like --column-propagate-source-type, for the columns of these types: patterns of SCHEMA.TABLE.TYPE, such as public.*.varchar." placeholder:"GLOB"`
}

// valueFlags determine the forms of values.
type valueFlags struct {
	DecimalHandlingMode  string `help:"Form of numeric and money: precise, double, string." default:"precise" placeholder:"MODE"`
	MoneyFractionDigits  string `help:"Digits of money after the decimal point." default:"2" placeholder:"N"`
	TimePrecisionMode    string `help:"Form of dates and times: adaptive, adaptive_time_microseconds, connect, isostring, microseconds, nanoseconds, structured." default:"adaptive" placeholder:"MODE"`
	BinaryHandlingMode   string `help:"Form of bytea: bytes, base64, base64-url-safe, hex." default:"bytes" placeholder:"MODE"`
	IntervalHandlingMode string `help:"Form of interval: numeric, string." default:"numeric" placeholder:"MODE"`
	HstoreHandlingMode   string `help:"Form of hstore: json, map." default:"json" placeholder:"MODE"`
	UnknownDatatypes     string `help:"Form of types that Debezium does not know: text, bytes (of the text), omit." default:"text" placeholder:"MODE"`
	UnavailableValue     string `name:"unavailable-value-placeholder" help:"Placeholder for a TOAST value that is not in the WAL: a text, or octets as hex:AABB." default:"__debezium_unavailable_value" placeholder:"TEXT"`
}

// modes returns the flags in the form that the encoder takes.
func (f valueFlags) modes() (debezium.Modes, error) {
	var modes debezium.Modes
	for _, setting := range [][2]string{
		{"decimal.handling.mode", f.DecimalHandlingMode},
		{"money.fraction.digits", f.MoneyFractionDigits},
		{"time.precision.mode", f.TimePrecisionMode},
		{"binary.handling.mode", f.BinaryHandlingMode},
		{"interval.handling.mode", f.IntervalHandlingMode},
		{"hstore.handling.mode", f.HstoreHandlingMode},
		{"unknown.datatypes", f.UnknownDatatypes},
		{"unavailable.value.placeholder", f.UnavailableValue},
	} {
		if err := modes.Set(setting[0], setting[1]); err != nil {
			return modes, err
		}
	}
	return modes, nil
}

// validate validates the flags before any connection is made.
func (f recordFlags) validate(sources []source, text textFlags) error {
	if err := f.checkText(text); err != nil {
		return err
	}
	if err := f.checkFraming(); err != nil {
		return err
	}
	if err := f.checkEnvelope(f.framingFlags); err != nil {
		return err
	}
	if len(sources) > 1 && f.sharesTopics() {
		return fmt.Errorf("--topic-template %s gives the tables of several databases the same topics: put {prefix} or {database} into it", f.TopicTemplate)
	}
	for _, s := range sources {
		if _, err := f.shape(s); err != nil {
			return err
		}
	}
	if _, err := f.skipped(); err != nil {
		return err
	}
	for _, pattern := range slices.Concat(f.ColumnPropagateSourceType, f.DatatypePropagateSourceType) {
		if err := shape.CheckPattern(pattern); err != nil {
			return err
		}
	}
	_, err := f.modes()
	return err
}

// skipped returns the operations that produce no records.
func (f recordFlags) skipped() (debezium.Operations, error) {
	set, err := debezium.ParseOperations(f.SkippedOperations)
	if err != nil {
		return 0, fmt.Errorf("--skipped-operations: %w", err)
	}
	if f.SkipTruncate {
		set |= debezium.SkipTruncate
	}
	return set, nil
}

// altered reports whether records differ from those with default settings.
func (f recordFlags) altered() bool {
	var defaults struct{ recordFlags }
	parser, err := kong.New(&defaults)
	if err == nil {
		_, err = parser.Parse(nil)
	}
	return err != nil || !reflect.DeepEqual(f, defaults.recordFlags)
}

// format returns the Format for the records of one database.
func (f recordFlags) format(config debezium.Config, log *zap.Logger) (record.Format, error) {
	modes, err := f.modes()
	if err != nil {
		return nil, err
	}
	if config.Framing, err = f.framing(log); err != nil {
		return nil, err
	}
	if config.Envelope, config.Flat, err = f.envelope(); err != nil {
		return nil, err
	}
	config.Modes = modes
	if !f.ExtendedHeaders {
		config.RunID = ""
	}
	config.TransactionMetadata = f.ProvideTransactionMetadata
	config.NoTombstones = !f.Tombstones
	if config.Skip, err = f.skipped(); err != nil {
		return nil, err
	}
	config.SkipUnchanged = f.SkipMessagesWithoutChange
	config.Propagate = debezium.Propagation{Columns: f.ColumnPropagateSourceType, Datatypes: f.DatatypePropagateSourceType}
	return debezium.New(config), nil
}
