// Package avro frames records as Avro in Confluent's wire format: a zero byte, the schema's id in the registry as four bytes (big endian), and the
// Avro body. The body is converted from the record's JSON payload, so both formats always have the same content.
package avro

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"weak"

	"github.com/pgtee/pgtee/publisher/record"
)

// maxCached bounds each map of a Framing. A database has at most some thousands of schemas; an evicted entry is computed again.
const maxCached = 10_000

// headerBytes is the length of the magic byte and the schema id.
const headerBytes = 5

// Framing is a record.Framing. It must be used by one goroutine at a time.
type Framing struct {
	registry *Registry
	names    NameAdjustment
	subjects SubjectNames
	known    map[use]*framed
	versions map[version]*framed
	owners   map[string]string // subject -> schema name before adjustment
}

// use is a schema in one place, since each topic has its own subject. It holds the schema weakly: PostgreSQL sends a new Relation after each ANALYZE,
// and each makes a new schema with the same content.
type use struct {
	schema weak.Pointer[record.Schema]
	part   record.Part
	topic  string
}

// version identifies a schema in the registry.
type version struct{ subject, text string }

// framed holds what is needed to write the records of a version.
type framed struct {
	header  [headerBytes]byte
	program *node
}

// NewFraming returns a Framing that registers its schemas in r.
func NewFraming(r *Registry, subjects SubjectNames, names NameAdjustment) *Framing {
	return &Framing{r, names, subjects, map[use]*framed{}, map[version]*framed{}, map[string]string{}}
}

// Append implements record.Framing. The first use of a schema waits for the registry's response. An outage of the registry is a temporary error, a
// refusal is a *halt.Halt.
func (f *Framing) Append(ctx context.Context, dst []byte, part record.Part, topic string, schema *record.Schema, payload []byte) ([]byte, error) {
	u := use{weak.Make(schema), part, topic}
	how := f.known[u]
	if how == nil {
		var err error
		if how, err = f.learn(ctx, u, schema); err != nil {
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

// fail adds the part and topic to an error.
func (u use) fail(err error) error {
	return fmt.Errorf("Avro %s of topic %s: %w", parts[u.part], u.topic, err)
}

// learn returns how a schema's records are written. If its version is new, learn registers it and uses the id that the registry assigns.
func (f *Framing) learn(ctx context.Context, u use, schema *record.Schema) (*framed, error) {
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
	id, err := f.registry.id(ctx, v, u.topic)
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

// put adds an entry to a cache, and empties the cache first if it is full.
func put[K comparable, V any](m map[K]V, key K, value V) {
	if len(m) >= maxCached {
		clear(m)
	}
	m[key] = value
}
