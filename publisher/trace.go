package publisher

import "bytes"

// TraceparentHeader names the header of a row's record that holds the trace context of the statement that wrote
// it (W3C Trace Context, version 00), as sqlcommenter puts it into a comment of the SQL.
const TraceparentHeader = "traceparent"

const traceparentBytes = 55 // 00-<32 digits>-<16 digits>-<2 digits>

// traceparent returns what a comment of the SQL says: /*…traceparent='00-…-…-01'…*/. It is a part of sql; nil
// if there is none, or none that is well-formed.
func traceparent(sql []byte) []byte {
	before, after, found := bytes.Cut(sql, []byte("traceparent='"))
	if !found || len(after) <= traceparentBytes || after[traceparentBytes] != '\'' {
		return nil
	}
	if bytes.LastIndex(before, []byte("/*")) <= bytes.LastIndex(before, []byte("*/")) {
		return nil
	}
	value := after[:traceparentBytes:traceparentBytes]
	if !isTraceparent(value) {
		return nil
	}
	return value
}

func isTraceparent(value []byte) bool {
	trace, parent, flags := value[3:35], value[36:52], value[53:]
	return string(value[:3]) == "00-" && value[35] == '-' && value[52] == '-' &&
		isLowerHex(trace) && isLowerHex(parent) && isLowerHex(flags) &&
		len(bytes.Trim(trace, "0")) > 0 && len(bytes.Trim(parent, "0")) > 0
}

func isLowerHex(digits []byte) bool {
	for _, c := range digits {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
