package outbox

import (
	"encoding/json"
	"maps"
	"slices"
)

// EventRecord is an event of the application: the arguments of pgtee.publish(), and its caller.
type EventRecord struct {
	Topic   string // as given; "": the row could not be read
	Key     []byte // nil: null
	Payload []byte // nil: null
	Headers []EventHeader
	User    string // session_user
}

// EventHeader is a header of an event; a nil Value is null.
type EventHeader struct {
	Name  string
	Value []byte
}

// maxEventBytes exceeds the length of the key and headers, in JSON, that pgtee.publish() accepts.
const maxEventBytes = 4 << 20

// event appends the change for an event (kind e). c.payload is JSON, {"topic": text, "key": base64 | null, "headers": {name: text | null} | null}, and
// c.sql is the payload of the event.
func (a *Assembler) event(lsn LSN, c *noteColumns) {
	change := a.change(Event, lsn, len(c.payload)+len(c.sql)+len(c.user))
	e := &EventRecord{}
	change.Event, change.Omitted = e, c.omitted
	e.User = string(a.encoding.readable(c.user[:min(len(c.user), maxNameBytes)]))
	payload, ok := a.querySQL(c)
	var body struct {
		Topic   string
		Key     []byte
		Headers map[string]*string
	}
	if !ok || len(c.payload) > maxEventBytes || json.Unmarshal(a.encoding.readable(c.payload), &body) != nil {
		return
	}
	e.Topic, e.Key, e.Payload = body.Topic, body.Key, payload
	if c.sql != nil && payload == nil {
		e.Payload = []byte{}
	}
	for _, name := range slices.Sorted(maps.Keys(body.Headers)) {
		header := EventHeader{Name: name}
		if value := body.Headers[name]; value != nil {
			header.Value = []byte(*value)
		}
		e.Headers = append(e.Headers, header)
	}
}
