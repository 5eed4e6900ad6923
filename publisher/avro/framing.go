// Package avro frames records as Avro in Confluent's wire format: one zero byte, the id of the schema in the
// registry as four bytes (big endian), the Avro body. The body is made from the JSON payload of the same record,
// so both formats always say the same.
package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"weak"

	"github.com/pgtee/pgtee/publisher/record"
)

// maxCached bounds each of the maps of a Framing. A database has some tens or thousands of schemas; what is
// forgotten is made again.
const maxCached = 10_000

// headerBytes is the length of magic byte and schema id.
const headerBytes = 5

// Framing is a publisher.Framing. Its methods are for one goroutine.
type Framing struct {
	registry *Registry
	names    NameAdjustment
	subjects SubjectNames
	known    map[use]*framed
	versions map[version]*framed
	owners   map[string]string // subject -> schema name before its adjustment
}

// use is a schema at one place: another topic has another subject. It does not keep the schema in memory: the
// server describes a table again after each ANALYZE, and that makes new schemas that say the same.
type use struct {
	schema weak.Pointer[record.Schema]
	part   record.Part
	topic  string
}

// version is what the registry knows of a schema.
type version struct{ subject, text string }

// framed is how the records of a version are written.
type framed struct {
	header  [headerBytes]byte
	program *node
}

// NewFraming returns the framing that registers its schemas in r.
func NewFraming(r *Registry, subjects SubjectNames, names NameAdjustment) *Framing {
	return &Framing{r, names, subjects, map[use]*framed{}, map[version]*framed{}, map[string]string{}}
}

// Append implements publisher.Framing. The first use of a schema asks the registry and waits for its answer; an
// outage of the registry is Temporary, a refusal is a *publisher.Halt.
func (f *Framing) Append(dst []byte, part record.Part, topic string, schema *record.Schema, payload []byte) ([]byte, error) {
	u := use{weak.Make(schema), part, topic}
	how := f.known[u]
	if how == nil {
		var err error
		if how, err = f.learn(u, schema); err != nil {
			return dst, err
		}
		put(f.known, u, how)
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

// learn finds the version of a schema, or makes it with the id that the registry gives.
func (f *Framing) learn(u use, schema *record.Schema) (*framed, error) {
	v, err := f.version(u, schema)
	if err != nil {
		return nil, u.fail(err)
	}
	if how := f.versions[v]; how != nil {
		return how, nil
	}
	program, err := compile(schema, 0)
	if err != nil {
		return nil, u.fail(err)
	}
	id, err := f.registry.id(v, u.topic)
	if err != nil {
		return nil, err
	}
	how := &framed{program: program}
	binary.BigEndian.PutUint32(how.header[1:], id)
	put(f.versions, v, how)
	return how, nil
}

func (f *Framing) version(u use, schema *record.Schema) (version, error) {
	if schema == nil {
		return version{}, errors.New("its format gives no schema: publish it as json")
	}
	text, err := schemaText(schema, f.names)
	if err != nil {
		return version{}, err
	}
	subject, err := f.subject(u, schema)
	return version{subject, string(text)}, err
}

// put remembers value, and nothing else if that would be too much.
func put[K comparable, V any](m map[K]V, key K, value V) {
	if len(m) >= maxCached {
		clear(m)
	}
	m[key] = value
}
