package publisher

import (
	"slices"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/record"
)

// appendEvent appends the record of an event written by pgtee.publish().
func (p *Publisher) appendEvent(tx *outbox.Transaction, i int) {
	b, e := p.batch, tx.Changes[i].Event
	key, value := record.Null, record.Null
	if e.Key != nil {
		key = len(b.Buf)
		b.Buf = append(b.Buf, e.Key...)
	}
	if e.Payload != nil {
		value = len(b.Buf)
		b.Buf = append(b.Buf, e.Payload...)
	}
	topic, why := p.cfg.Router.Topic(e.Topic)
	if why != nil {
		topic = p.cfg.Router.Refused()
	}
	b.AddEvent(topic, key, value)
	b.Header(record.EventSourceHeader, appendEventSource(nil, b.AppendPgtee(nil, tx, i), e.User))
	own := func(h outbox.EventHeader) bool { return h.Name == record.TraceparentHeader }
	if !slices.ContainsFunc(e.Headers, own) {
		b.AddTrace(tx, i)
	}
	for _, h := range e.Headers {
		b.Header(h.Name, h.Value)
	}
	if why != nil {
		b.Refuse(b.Len()-1, topic, e.Topic, why)
	}
}

// maxEventSourceBytes leaves room for the longest event in a record of Kafka's default size.
const maxEventSourceBytes = 64 << 10

// appendEventSource appends a pgtee block preceded by the user. It leaves out a block that is too long, which --sql-text-bytes can make it.
func appendEventSource(dst, block []byte, user string) []byte {
	dst = record.AppendJSONString(append(dst, `{"user":`...), user)
	if len(block) > maxEventSourceBytes {
		return append(dst, '}')
	}
	return append(append(dst, ','), block[1:]...)
}
