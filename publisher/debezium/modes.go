package debezium

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Modes are the settings of Debezium's PostgreSQL connector that choose the form of values. Zero values are Debezium's defaults.
type Modes struct {
	Decimals  DecimalMode
	Times     TimeMode
	Binary    BinaryMode
	Intervals IntervalMode
	Hstore    HstoreMode
	Unknown   UnknownMode

	MoneyFractionDigits    *int   // money.fraction.digits: digits after the decimal point, further ones are rounded; nil: 2
	UnavailablePlaceholder string // octets of unavailable.value.placeholder, for a TOAST value that is not in the WAL; "": Debezium's
}

// DecimalMode is decimal.handling.mode: the form of numeric and money.
type DecimalMode byte

const (
	DecimalPrecise DecimalMode = iota // org.apache.kafka.connect.data.Decimal
	DecimalDouble
	DecimalString
)

// TimeMode is time.precision.mode: the form of date, time and timestamp.
type TimeMode byte

const (
	TimeAdaptive             TimeMode = iota // milliseconds for time(0..3) and timestamp(0..3), else microseconds
	TimeAdaptiveMicroseconds                 // the same for timestamps; time is in microseconds
	TimeConnect                              // Kafka Connect's own types: milliseconds, truncated
	TimeISOString
	TimeMicroseconds
	TimeNanoseconds
	TimeStructured // a struct of year, month, day, ... for every date, time and interval type
)

// BinaryMode is binary.handling.mode: the form of bytea.
type BinaryMode byte

const (
	BinaryBytes BinaryMode = iota
	BinaryBase64
	BinaryBase64URL
	BinaryHex
)

// IntervalMode is interval.handling.mode.
type IntervalMode byte

const (
	IntervalNumeric IntervalMode = iota // microseconds, with months of 365.25/12 days
	IntervalString                      // ISO 8601: P1Y2M3DT4H5M6.78S
)

// HstoreMode is hstore.handling.mode.
type HstoreMode byte

const (
	HstoreJSON HstoreMode = iota // a string of JSON
	HstoreMap
)

// UnknownMode says what happens to types that Debezium cannot represent: composite types, multiranges, arrays of domains, ...
type UnknownMode byte

const (
	UnknownText  UnknownMode = iota // PostgreSQL's text: nothing is lost
	UnknownBytes                    // the bytes of that text: Debezium with include.unknown.datatypes=true
	UnknownOmit                     // left out of the record: Debezium's default
)

// Names of the modes as Debezium spells them, in the order of the constants.
var (
	decimalModes  = []string{"precise", "double", "string"}
	timeModes     = []string{"adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds", "structured"}
	binaryModes   = []string{"bytes", "base64", "base64-url-safe", "hex"}
	intervalModes = []string{"numeric", "string"}
	hstoreModes   = []string{"json", "map"}
	unknownModes  = []string{"text", "bytes", "omit"}
)

func (m DecimalMode) String() string  { return decimalModes[m] }
func (m TimeMode) String() string     { return timeModes[m] }
func (m BinaryMode) String() string   { return binaryModes[m] }
func (m IntervalMode) String() string { return intervalModes[m] }
func (m HstoreMode) String() string   { return hstoreModes[m] }
func (m UnknownMode) String() string  { return unknownModes[m] }

// modeKeys are the settings that Modes.Set accepts: Debezium's names, and unknown.datatypes.
var modeKeys = []string{
	"decimal.handling.mode", "money.fraction.digits", "time.precision.mode", "binary.handling.mode",
	"interval.handling.mode", "hstore.handling.mode", "unknown.datatypes", "include.unknown.datatypes",
	"unavailable.value.placeholder",
}

// Set sets one of the modeKeys. An empty value changes nothing.
func (m *Modes) Set(key, value string) error {
	if value == "" {
		return nil
	}
	switch key {
	case "decimal.handling.mode":
		return setMode(&m.Decimals, decimalModes, key, value)
	case "time.precision.mode":
		return setMode(&m.Times, timeModes, key, value)
	case "binary.handling.mode":
		return setMode(&m.Binary, binaryModes, key, value)
	case "interval.handling.mode":
		return setMode(&m.Intervals, intervalModes, key, value)
	case "hstore.handling.mode":
		return setMode(&m.Hstore, hstoreModes, key, value)
	case "unknown.datatypes":
		return setMode(&m.Unknown, unknownModes, key, value)
	case "include.unknown.datatypes": // Debezium's setting has only two of the three modes
		return m.setUnknown(value)
	case "money.fraction.digits":
		return m.setMoneyDigits(value)
	case "unavailable.value.placeholder":
		return m.setPlaceholder(value)
	}
	return fmt.Errorf("unknown setting %q: use one of %s", key, strings.Join(modeKeys, ", "))
}

// setMode ignores case, as Debezium does.
func setMode[M ~byte](mode *M, names []string, key, value string) error {
	for i, name := range names {
		if strings.EqualFold(name, strings.TrimSpace(value)) {
			*mode = M(i)
			return nil
		}
	}
	return fmt.Errorf("%s=%q: use one of %s", key, value, strings.Join(names, ", "))
}

func (m *Modes) setUnknown(value string) error {
	include, err := strconv.ParseBool(strings.TrimSpace(value))
	if err != nil {
		return fmt.Errorf("include.unknown.datatypes=%q: use true or false", value)
	}
	m.Unknown = UnknownOmit
	if include {
		m.Unknown = UnknownBytes
	}
	return nil
}

// maxMoneyDigits is more than any currency uses, and small enough that amounts still fit into 64 bits.
const maxMoneyDigits = 18

func (m *Modes) setMoneyDigits(value string) error {
	digits, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil || digits < 0 || digits > maxMoneyDigits {
		return fmt.Errorf("money.fraction.digits=%q: use a number from 0 to %d", value, maxMoneyDigits)
	}
	m.MoneyFractionDigits = &digits
	return nil
}

// setPlaceholder takes a text, or octets as hex:AABB.
func (m *Modes) setPlaceholder(value string) error {
	digits, isHex := strings.CutPrefix(value, "hex:")
	if !isHex {
		m.UnavailablePlaceholder = value
		return nil
	}
	octets, err := hex.DecodeString(digits)
	if err != nil || len(octets) == 0 {
		return fmt.Errorf("unavailable.value.placeholder=%q: use pairs of hexadecimal digits after hex:", value)
	}
	m.UnavailablePlaceholder = string(octets)
	return nil
}

func (m *Modes) moneyDigits() int {
	if m.MoneyFractionDigits == nil {
		return 2
	}
	return *m.MoneyFractionDigits
}

func (m *Modes) placeholder() string {
	if m.UnavailablePlaceholder == "" {
		return "__debezium_unavailable_value"
	}
	return m.UnavailablePlaceholder
}
