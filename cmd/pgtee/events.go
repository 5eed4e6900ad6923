package main

import (
	"github.com/pgtee/pgtee/publisher"
)

// eventFlags say where events of the application go.
type eventFlags struct {
	OutboxTopics []string `help:"Topics that pgtee.publish() may name; * is any run of characters. A name that is not listed is put to PREFIX.outbox., if that is listed; what is not allowed goes to PREFIX.outbox.refused. By default PREFIX.outbox.*" placeholder:"TOPIC"`
}

// router is the publisher's of one database.
func (f eventFlags) router(s source) (*publisher.Router, error) {
	return publisher.NewRouter(s.prefix, f.OutboxTopics)
}
