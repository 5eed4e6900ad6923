package debezium

import (
	"math"

	"github.com/pgtee/pgtee/publisher/record"
)

// Structs of time.precision.mode=structured. Every field is optional, because an infinity has only its name. precision is the type's number of digits
// after the decimal point.
var (
	schemaStructuredDate      = structured("Date", fieldsOf(dateFields, specialField))
	schemaStructuredTime      = structured("Time", fieldsOf(clockFields, precisionField))
	schemaStructuredTimestamp = structured("Timestamp", fieldsOf(dateFields, clockFields, specialField, precisionField))
	schemaStructuredTimeTZ    = structured("ZonedTime", fieldsOf(clockFields, offsetField, precisionField))
	schemaStructuredStampTZ   = structured("ZonedTimestamp", fieldsOf(dateFields, clockFields, offsetField, zoneField, specialField, precisionField))
	schemaStructuredDuration  = structured("Duration", fieldsOf(durationFields, precisionField))

	dateFields     = []record.Field{nullable("year", record.Int32), nullable("month", record.Int8), nullable("day", record.Int8)}
	clockFields    = []record.Field{nullable("hour", record.Int8), nullable("minute", record.Int8), nullable("second", record.Int8), nullable("nanos", record.Int32)}
	offsetField    = []record.Field{nullable("offsetSeconds", record.Int32)}
	zoneField      = []record.Field{nullable("zoneId", record.String)}
	specialField   = []record.Field{nullable("specialValue", record.String)}
	precisionField = []record.Field{nullable("precision", record.Int32)}
	durationFields = []record.Field{
		nullable("years", record.Int32), nullable("months", record.Int32), nullable("days", record.Int32),
		nullable("hours", record.Int32), nullable("minutes", record.Int32), nullable("seconds", record.Int64), nullable("nanos", record.Int32),
	}
)

func structured(name string, fields []record.Field) record.Schema {
	return structOf("io.debezium.time.Structured"+name, "", fields...)
}

func nullable(name string, t record.SchemaType) record.Field {
	return member(name, optional(schemaOf(t)))
}

func fieldsOf(groups ...[]record.Field) (fields []record.Field) {
	for _, group := range groups {
		fields = append(fields, group...)
	}
	return fields
}

// structured returns the codec of a date, time or interval type for time.precision.mode=structured.
func (c *codecs) structured(oid uint32, typmod int32) codec {
	precision := int64(fractionDigits(typmod))
	switch oid {
	case oidDate:
		return codecOf(schemaStructuredDate, appendStructuredDate, "1970-01-01")
	case oidTime:
		return codecOf(schemaStructuredTime, structuredTime(precision), "00:00:00")
	case oidTimestamp:
		return codecOf(schemaStructuredTimestamp, structuredTimestamp(schemaStructuredTimestamp, precision), "1970-01-01 00:00:00")
	case oidTimeTZ:
		return codecOf(schemaStructuredTimeTZ, structuredTimeTZ(precision), "00:00:00+00")
	case oidTimestampTZ:
		return structuredStampTZ(precision)
	case oidInterval:
		return codecOf(schemaStructuredDuration, structuredInterval(precision), "00:00:00")
	}
	return codec{}
}

// structuredStampTZ is the codec of timestamptz. Its zero value names no time zone.
func structuredStampTZ(precision int64) codec {
	found := codecOf(schemaStructuredStampTZ, structuredTimestamp(schemaStructuredStampTZ, precision), "1970-01-01 00:00:00+00")
	found.zero = string(appendPrecision(append(appendClockFields(appendDateFields([]byte{'{'}, 0), 0), `,"offsetSeconds":0,"zoneId":null,"specialValue":null`...), precision))
	return found
}

func appendStructuredDate(dst, text []byte) ([]byte, bool) {
	if special := specialValue(text); special != "" {
		return append(appendSpecial(dst, schemaStructuredDate, special), '}'), true
	}
	text, bc := cutBC(text)
	days, rest, ok := parseDate(text, bc)
	return append(appendDateFields(append(dst, '{'), days), `,"specialValue":null}`...), ok && len(rest) == 0
}

func structuredTime(precision int64) appendFunc {
	return func(dst, text []byte) ([]byte, bool) {
		micros, rest, ok := parseTime(text)
		dst = appendClockFields(append(dst, '{'), micros)
		return appendPrecision(dst, precision), ok && len(rest) == 0
	}
}

// structuredTimeTZ encodes timetz and keeps the offset that the value was written with.
func structuredTimeTZ(precision int64) appendFunc {
	return func(dst, text []byte) ([]byte, bool) {
		micros, rest, ok := parseTime(text)
		if !ok {
			return dst, false
		}
		offset, ok := parseZone(rest)
		dst = appendClockFields(append(dst, '{'), micros)
		dst = appendInt(append(dst, `,"offsetSeconds":`...), offset/second)
		return appendPrecision(dst, precision), ok
	}
}

// structuredTimestamp encodes both timestamp types; a timestamp with time zone is in UTC.
func structuredTimestamp(schema record.Schema, precision int64) appendFunc {
	zoned := schema.Name == schemaStructuredStampTZ.Name
	return func(dst, text []byte) ([]byte, bool) {
		if special := specialValue(text); special != "" {
			return appendPrecision(appendSpecial(dst, schema, special), precision), true
		}
		days, micros, rest, ok := parseTimestamp(text)
		if !ok || zoned == (len(rest) == 0) {
			return dst, false
		}
		if zoned {
			var offset int64
			if offset, ok = parseZone(rest); !ok {
				return dst, false
			}
			micros -= offset
		}
		carry := floorDivide(micros, day)
		dst = appendClockFields(appendDateFields(append(dst, '{'), days+carry), micros-carry*day)
		if zoned {
			dst = append(dst, `,"offsetSeconds":0,"zoneId":"Z"`...)
		}
		return appendPrecision(append(dst, `,"specialValue":null`...), precision), true
	}
}

func structuredInterval(precision int64) appendFunc {
	return func(dst, text []byte) ([]byte, bool) {
		parts, ok := parseInterval(text)
		if !ok || max(parts.years, -parts.years, parts.months, -parts.months, parts.days, -parts.days) > math.MaxInt32 || max(parts.micros, -parts.micros)/hour > math.MaxInt32 {
			return dst, false
		}
		for i, n := range [...]int64{parts.years, parts.months, parts.days, parts.micros / hour, parts.micros / minute % 60, parts.micros / second % 60, parts.micros % second * 1000} {
			dst = appendMember(dst, durationFields[i].Name, n, i == 0)
		}
		return appendPrecision(dst, precision), true
	}
}

// specialValue returns the name of an infinity, "" for any other text.
func specialValue(text []byte) string {
	switch string(text) {
	case "infinity":
		return "POSITIVE_INFINITY"
	case "-infinity":
		return "NEGATIVE_INFINITY"
	}
	return ""
}

// appendSpecial appends the fields of an infinity, without the precision and the closing brace.
func appendSpecial(dst []byte, schema record.Schema, special string) []byte {
	for i, f := range schema.Fields {
		switch f.Name {
		case "precision":
			return dst
		case "specialValue":
			dst = append(append(append(dst, `,"specialValue":"`...), special...), '"')
		default:
			open := byte(',')
			if i == 0 {
				open = '{'
			}
			dst = append(append(append(dst, open, '"'), f.Name...), `":null`...)
		}
	}
	return dst
}

// appendDateFields appends the fields of a date after the opening brace.
func appendDateFields(dst []byte, days int64) []byte {
	year, month, dayOfMonth := civil(days)
	dst = appendInt(append(dst, `"year":`...), year)
	dst = appendInt(append(dst, `,"month":`...), month)
	return appendInt(append(dst, `,"day":`...), dayOfMonth)
}

// appendClockFields appends the fields of a time of day, after those of a date or after the opening brace.
func appendClockFields(dst []byte, micros int64) []byte {
	for i, n := range [...]int64{micros / hour, micros / minute % 60, micros / second % 60, micros % second * 1000} {
		if i == 0 && dst[len(dst)-1] == '{' {
			dst = appendInt(append(dst, `"hour":`...), n)
			continue
		}
		dst = appendMember(dst, clockFields[i].Name, n, false)
	}
	return dst
}

func appendMember(dst []byte, name string, n int64, first bool) []byte {
	open := byte(',')
	if first {
		open = '{'
	}
	dst = append(append(append(dst, open, '"'), name...), `":`...)
	return appendInt(dst, n)
}

func appendPrecision(dst []byte, precision int64) []byte {
	return append(appendInt(append(dst, `,"precision":`...), precision), '}')
}
