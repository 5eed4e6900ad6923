package proxy

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// splice is a statement of ours inside a Query.
type splice struct {
	result int  // number of the Query's results before its own
	at     int  // characters of the client's text before it
	length int  // its own characters
	closes bool // it stands behind the last statement of the client's
}

// errorField returns a field of an ErrorResponse or NoticeResponse, or nil. A slice of body.
func errorField(body []byte, field byte) []byte {
	for len(body) > 1 && body[0] != 0 {
		value, rest, ok := cutString(body[1:])
		if !ok {
			return nil
		}
		if body[0] == field {
			return value
		}
		body = rest
	}
	return nil
}

// isFatal reports whether the server ends the session with this error.
func isFatal(body []byte) bool {
	severity := errorField(body, 'V')
	if severity == nil {
		severity = errorField(body, 'S')
	}
	return string(severity) == "FATAL" || string(severity) == "PANIC"
}

// position is where in the client's text an error position points, after a look at what was spliced in.
type position struct {
	value int  // as the client counts; 0 if there is none
	ours  bool // it points into a statement of ours
}

// place is where a statement stands in the text that the server has got, in characters from 1.
type place struct {
	from, to int // none if both are 0
	shift    int // of these, ours before it
}

func (p place) holds(position int) bool { return p.from <= position && position <= p.to }

// arguments is the part of an EXECUTE, whose text is sql, that an error may point to.
func (p place) arguments(sql []byte) place {
	open := bytes.IndexByte(sql, '(')
	if open < 0 {
		return place{}
	}
	p.from += open
	return p
}

// borrowed is a statement that runs what was prepared at another place: an error may point there, or to its own arguments.
type borrowed struct {
	result      int // number of the Query's results before its own
	own, source place
}

// borrow returns what an error in a message of the extended protocol may point to, if it has to be moved for that.
func borrow(own, source place) []borrowed {
	if source.shift == 0 {
		return nil
	}
	return []borrowed{{own: own, source: source}}
}

// syntaxError is met before anything runs: it points into the text of the Query.
const syntaxError = "42601"

// positionOf returns where an error points to that the statement with this number has met. Where two places could be meant it is
// taken for one in the statement's own arguments.
func (e *entry) positionOf(body []byte, result, done int) position {
	given, err := strconv.Atoi(string(errorField(body, 'P')))
	if err != nil || given <= 0 {
		return position{}
	}
	for i := range e.borrowed {
		b := &e.borrowed[i]
		if b.result == result && string(errorField(body, 'C')) != syntaxError && b.source.holds(given) && !b.own.holds(given) {
			return position{value: given - b.source.shift}
		}
	}
	return positionIn(given, e.splices, done)
}

// positionIn moves the position of an error by what was spliced in before it. Of the splices, done have run: an error
// cannot point into one of these, but EXECUTE gives positions in the text of its PREPARE, which stay.
func positionIn(given int, splices []splice, done int) (p position) {
	value := given
	for i, s := range splices {
		switch {
		case value <= s.at:
			return position{value: value}
		case value > s.at+s.length:
			value -= s.length
		case i < done:
			return position{value: given}
		default:
			return position{ours: true}
		}
	}
	return position{value: value}
}

// blamesClient lists the errors that a client would have met without a note as well: they stay as they are.
func blamesClient(code []byte) bool {
	switch string(code) {
	case "25P02", // the transaction has failed before
		"22021", "22P05", // the text of the whole Query cannot be converted
		"40001", "40P01": // serialization, deadlock: clients retry by the code
		return true
	}
	return len(code) == 5 && string(code[:2]) == "57" // cancelled, timed out, shut down
}

// missesOutbox reports whether a note failed because the outbox is not there any more.
func missesOutbox(code []byte) bool {
	switch string(code) {
	case "42883", "3F000", "42P01":
		return true
	}
	return false
}

// refusesNote lists what a call of our function meets before it runs.
func refusesNote(code []byte) bool { return missesOutbox(code) || string(code) == "42501" }

// appendOurError appends the ErrorResponse of a note: marked as ours, without a position.
func appendOurError(dst, body []byte) []byte {
	return appendError(dst, 'E', body, func(dst []byte, field byte, value []byte) []byte {
		switch field {
		case 'P':
			return dst
		case 'M':
			dst = append(dst, "Mpgtee: "...)
		default:
			dst = append(dst, field)
		}
		return append(append(dst, value...), 0)
	})
}

// appendWithoutContext appends an ErrorResponse that has met a note in place of the client's statement: the context
// would name our function.
func appendWithoutContext(dst, body []byte) []byte {
	return appendError(dst, 'E', body, func(dst []byte, field byte, value []byte) []byte {
		if field == 'W' {
			return dst
		}
		return append(append(append(dst, field), value...), 0)
	})
}

// appendMoved appends the ErrorResponse or NoticeResponse with another position.
func appendMoved(dst []byte, kind byte, body []byte, position int) []byte {
	return appendError(dst, kind, body, func(dst []byte, field byte, value []byte) []byte {
		dst = append(dst, field)
		if field == 'P' {
			dst = strconv.AppendInt(dst, int64(position), 10)
		} else {
			dst = append(dst, value...)
		}
		return append(dst, 0)
	})
}

func appendError(dst []byte, kind byte, body []byte, edit func(dst []byte, field byte, value []byte) []byte) []byte {
	start := len(dst)
	dst = append(dst, kind, 0, 0, 0, 0)
	for len(body) > 1 && body[0] != 0 {
		value, rest, ok := cutString(body[1:])
		if !ok {
			break
		}
		dst = edit(dst, body[0], value)
		body = rest
	}
	dst = append(dst, 0)
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1))
	return dst
}
