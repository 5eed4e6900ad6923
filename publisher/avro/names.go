package avro

import (
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/pgtee/pgtee/publisher/record"
)

// NameAdjustment says how names that Avro does not allow are changed. It combines Debezium's schema.name.adjustment.mode and
// field.name.adjustment.mode.
type NameAdjustment byte

const (
	Underscore NameAdjustment = iota // "avro": a character that is not allowed becomes _
	Unicode                          // "avro_unicode": it becomes _u and its hexadecimal code, and so does _ itself, so that names hardly ever collide
)

// ParseNameAdjustment reads a mode by Debezium's name.
func ParseNameAdjustment(text string) (NameAdjustment, error) {
	switch text {
	case "avro":
		return Underscore, nil
	case "avro_unicode":
		return Unicode, nil
	}
	return 0, fmt.Errorf("unknown name adjustment %q: want avro or avro_unicode", text)
}

// fullName adjusts the name of a record. Each part between dots is adjusted by itself. Unlike Debezium's SchemaNameAdjuster it also corrects later
// parts that start with a digit, which Avro does not allow.
func (a NameAdjustment) fullName(name string) string {
	parts := strings.Split(name, ".")
	for i, part := range parts {
		parts[i] = a.name(part)
	}
	return strings.Join(parts, ".")
}

// fieldName adjusts the name of a field. In structs other than rows and keys, names that Avro allows are kept, even with Unicode ("ts_ms"), as Debezium
// does.
func (a NameAdjustment) fieldName(name, record string) string {
	column := strings.HasSuffix(record, ".Value") || strings.HasSuffix(record, ".Key")
	if !column && Underscore.name(name) == name {
		return name
	}
	return a.name(name)
}

// fieldNames returns the names of a struct's fields, which differ. Of fields whose adjusted names are equal the first one keeps that name, and the others have
// the form of Unicode: whoever adds such a column, which comes last, must be able neither to halt the publisher nor to take another column's name.
func (a NameAdjustment) fieldNames(s *record.Schema) []string {
	names, taken := make([]string, len(s.Fields)), make(map[string]bool, len(s.Fields))
	for i, f := range s.Fields {
		if names[i] = a.fieldName(f.Name, s.Name); taken[names[i]] {
			names[i] = Unicode.name(f.Name)
		}
		for taken[names[i]] {
			names[i] += "_"
		}
		taken[names[i]] = true
	}
	return names
}

// name adjusts a single name, one UTF-16 unit at a time as Java does (Debezium, SchemaNameAdjuster.validFullname).
func (a NameAdjustment) name(name string) string {
	if name == "" {
		return "_"
	}
	var b strings.Builder
	for i, unit := range utf16.Encode([]rune(name)) {
		switch {
		case a.legal(unit, i == 0):
			b.WriteByte(byte(unit))
		case a == Unicode:
			fmt.Fprintf(&b, "_u%s", hexOf(unit))
		default:
			b.WriteByte('_')
			if isDigit(unit) { // at the start of a name; keeps 1a and 2a distinct
				b.WriteByte(byte(unit))
			}
		}
	}
	return b.String()
}

func (a NameAdjustment) legal(unit uint16, first bool) bool {
	letter := unit >= 'a' && unit <= 'z' || unit >= 'A' && unit <= 'Z'
	return letter || unit == '_' && a == Underscore || isDigit(unit) && !first
}

func isDigit(unit uint16) bool { return unit >= '0' && unit <= '9' }

// hexOf pads one digit to three and two digits to four, as Debezium does.
func hexOf(unit uint16) string {
	hex := fmt.Sprintf("%x", unit)
	if len(hex) <= 2 {
		hex = "00" + hex
	}
	return hex
}

// splitName splits a full name at its last dot.
func splitName(full string) (namespace, name string) {
	if dot := strings.LastIndexByte(full, '.'); dot >= 0 {
		return full[:dot], full[dot+1:]
	}
	return "", full
}
