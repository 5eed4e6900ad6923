package avro

import (
	"fmt"

	"github.com/pgtee/pgtee/publisher/record"
)

// SubjectNames says how subjects in the registry are named: Confluent's key.subject.name.strategy and value.subject.name.strategy.
type SubjectNames byte

const (
	TopicName       SubjectNames = iota // topic-key, topic-value
	RecordName                          // the record's full name
	TopicRecordName                     // topic-record
)

// ParseSubjectNames reads the name of a strategy.
func ParseSubjectNames(text string) (SubjectNames, error) {
	switch text {
	case "topic":
		return TopicName, nil
	case "record":
		return RecordName, nil
	case "topic-record":
		return TopicRecordName, nil
	}
	return 0, fmt.Errorf("unknown subject name strategy %q: want topic, record or topic-record", text)
}

var parts = [...]string{record.KeyPart: "key", record.ValuePart: "value"}

// subject returns the subject of a use. Two schemas whose names become equal by the adjustment may not share a subject: they would be versions of
// each other.
func (f *Framing) subject(u use, schema *record.Schema) (string, error) {
	if f.subjects == TopicName {
		return u.topic + "-" + parts[u.part], nil
	}
	name := recordName(schema, f.names)
	if name == "" {
		return "", fmt.Errorf("its schema is not a named record: choose the subject name strategy topic")
	}
	subject := name
	if f.subjects == TopicRecordName {
		subject = u.topic + "-" + name
	}
	owner, owned := f.owners[subject]
	if owned && owner != schema.Name {
		return "", fmt.Errorf("the schemas %s and %s would share the subject %s: choose the subject name strategy topic or the name adjustment avro_unicode", owner, schema.Name, subject)
	}
	put(f.owners, subject, schema.Name)
	return subject, nil
}
