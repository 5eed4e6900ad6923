package proxy

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// splice is a statement that the proxy has inserted into a Query.
type splice struct {
	result int  // number of the Query's results before its own
	at     int  // characters of the client's text before it
	length int  // its own length in characters
	closes bool // it stands behind the client's last statement
}

// errorField returns a field of an ErrorResponse or NoticeResponse as a slice of body, or nil.
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

// position says where an error position points in the client's text, taking the inserted statements into account.
type position struct {
	value int  // in the client's text; 0 if there is none
	ours  bool // value is as given: it is in a statement of the proxy, unless it refers to another text, such as that of a PREPARE
}

// place is the position of a statement in the text that the server received, in characters, starting at 1.
type place struct {
	from, to int // none if both are 0
	shift    int // characters of the proxy's notes before it
}

func (p place) holds(position int) bool { return p.from <= position && position <= p.to }

// arguments returns the part of an EXECUTE, whose text is sql, to which an error may point.
func (p place) arguments(sql []byte) place {
	open := bytes.IndexByte(sql, '(')
	if open < 0 {
		return place{}
	}
	p.from += open
	return p
}

// borrowed is a statement that executes a prepared one: an error may point into the prepared one (source), or into its own arguments (own).
type borrowed struct {
	result      int // number of the Query's results before its own
	own, source place
}

// borrow returns the places to which an error of an extended-protocol message may point, if its position must be adjusted.
func borrow(own, source place) []borrowed {
	if source.shift == 0 {
		return nil
	}
	return []borrowed{{own: own, source: source}}
}

// failedBlock is the error of any request in a block that has failed, except those that end it.
const failedBlock = "25P02"

// syntaxError is raised before anything runs, so it points into the text of the Query.
const syntaxError = "42601"

// positionOf returns where an error of the statement with this number points. A position that fits both texts is taken to be in its own arguments.
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

// positionIn adjusts the position of an error for the notes that were inserted before it. The first done splices have already run, so a
// position in one of them is really one in the text of a PREPARE, reported by its EXECUTE: it is not adjusted.
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
			return position{given, true}
		}
	}
	return position{value: value}
}

// blamesClient reports whether a client would have received this error without a note as well: it is then forwarded unchanged.
func blamesClient(code []byte) bool {
	switch string(code) {
	case failedBlock,
		"22021", "22P05", // the text of the whole Query cannot be converted
		"40001", "40P01": // serialization, deadlock: clients retry by the code
		return true
	}
	return len(code) == 5 && string(code[:2]) == "57" // cancelled, timed out, shut down
}

// missesOutbox reports whether a note failed because the outbox no longer exists.
func missesOutbox(code []byte) bool {
	switch string(code) {
	case "42883", "3F000", "42P01":
		return true
	}
	return false
}

// refusesNote reports whether an error is one that prevents a call of the proxy's function from running.
func refusesNote(code []byte) bool { return missesOutbox(code) || string(code) == "42501" }

// appendOurError appends the ErrorResponse of a note, marked as pgtee's and without a position.
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

// appendNoteError appends the error of a note as the client is to see it: as that of its own statement if this would have met it as well.
func appendNoteError(dst, body []byte) []byte {
	if blamesClient(errorField(body, 'C')) {
		return appendWithoutContext(dst, body)
	}
	return appendOurError(dst, body)
}

// appendWithoutContext appends an error that a note met in place of the client's statement, without its context, which names pgtee's function.
func appendWithoutContext(dst, body []byte) []byte {
	return appendError(dst, 'E', body, func(dst []byte, field byte, value []byte) []byte {
		if field == 'W' {
			return dst
		}
		return append(append(append(dst, field), value...), 0)
	})
}

// appendMoved appends an ErrorResponse or NoticeResponse with another position.
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
