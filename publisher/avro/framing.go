// Package avro frames records as Avro in Confluent's wire format: one zero byte, the id of the schema in the
// registry as four bytes (big endian), the Avro body. The body is made from the JSON payload of the same record,
// so both formats always say the same.
package avro

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pgtee/pgtee/publisher"
)

// maxCached bounds what a Framing and a Registry remember. A database has some tens or thousands of schemas;
// beyond that they are made again.
const maxCached = 10_000

// headerBytes is the length of magic byte and schema id.
const headerBytes = 5

// Framing is a publisher.Framing. Its methods are for one goroutine.
type Framing struct {
	registry *Registry
	names    NameAdjustment
	subjects SubjectNames
	known    map[use]framed
	owners   map[string]string // subject -> schema name before its adjustment
}

// ContentType is that of CloudEvents whose data is framed.
func (*Framing) ContentType() string { return "application/avro" }

// use is a schema at one place: another topic has another subject.
type use struct {
	schema *publisher.Schema
	part   publisher.Part
	topic  string
}

// framed is how records of a use are written.
type framed struct {
	header  [headerBytes]byte
	program *node
}

// NewFraming returns the framing that registers its schemas in r.
func NewFraming(r *Registry, subjects SubjectNames, names NameAdjustment) *Framing {
	return &Framing{registry: r, names: names, subjects: subjects, known: map[use]framed{}, owners: map[string]string{}}
}

// Append implements publisher.Framing. The first use of a schema asks the registry and waits for its answer; an
// outage of the registry is Temporary, a refusal is a *publisher.Halt.
func (f *Framing) Append(dst []byte, part publisher.Part, topic string, schema *publisher.Schema, payload []byte) ([]byte, error) {
	u := use{schema, part, topic}
	how, known := f.known[u]
	if !known {
		var err error
		if how, err = f.learn(u); err != nil {
			return dst, err
		}
	}
	body, err := how.program.transcode(append(dst, how.header[:]...), payload)
	if err != nil {
		return dst, u.fail(err)
	}
	return body, nil
}

// fail says of what an error is.
func (u use) fail(err error) error {
	return fmt.Errorf("Avro %s of topic %s: %w", parts[u.part], u.topic, err)
}

// learn compiles a schema and has it registered.
func (f *Framing) learn(u use) (how framed, err error) {
	subject, text, program, err := f.translate(u)
	if err != nil {
		return how, u.fail(err)
	}
	id, err := f.registry.id(subject, u.topic, text)
	if err != nil {
		return how, err
	}
	how.program = program
	binary.BigEndian.PutUint32(how.header[1:], id)
	if len(f.known) >= maxCached {
		clear(f.known)
	}
	f.known[u] = how
	return how, nil
}

// translate makes what a use needs of its schema.
func (f *Framing) translate(u use) (subject, text string, program *node, err error) {
	if u.schema == nil {
		return "", "", nil, errors.New("its format gives no schema: publish it as json")
	}
	if program, err = compile(u.schema, 0); err != nil {
		return "", "", nil, err
	}
	schema, err := schemaText(u.schema, f.names)
	if err != nil {
		return "", "", nil, err
	}
	subject, err = f.subject(u)
	return subject, string(schema), program, err
}
