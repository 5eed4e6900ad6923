package publisher

import (
	"errors"
	"fmt"
)

// unusableTopic is the error of a table whose topic is not to be had: it needs another one.
type unusableTopic struct {
	topic  string
	why    error
	repair string // what to do if the topic is of no table
}

func (e *unusableTopic) Error() string { return fmt.Sprintf("topic %s: %v", e.topic, e.why) }
func (e *unusableTopic) Unwrap() error { return e.why }

// smallTopic is the error of a topic that takes smaller records than were made.
type smallTopic struct {
	topic  string
	bytes  int // of the largest that it takes
	err    error
	repair string // what to do if the records cannot be made smaller
}

func (e *smallTopic) Error() string {
	return fmt.Sprintf("topic %s takes records of up to %d bytes: %v", e.topic, e.bytes, e.err)
}
func (e *smallTopic) Unwrap() error { return e.err }

// errOwnTopic is the why of an unusableTopic: what a table had before is where its rows belong.
var errOwnTopic = errors.New("the table has had a topic of its own before")
