package avro

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/pgtee/pgtee/publisher/halt"
)

var (
	ErrIncompatible    = errors.New("the schema registry rejected a schema")
	ErrSchemaMissing   = errors.New("the schema registry does not have a schema")
	ErrRegistryRefuses = errors.New("the schema registry rejected the request")
)

// Outage means that the registry did not respond, or responded that it is unavailable.
type Outage struct{ err error }

func (o *Outage) Error() string { return "the schema registry does not answer: " + o.err.Error() }
func (o *Outage) Unwrap() error { return o.err }

// Temporary reports that a retry may succeed.
func (o *Outage) Temporary() bool { return true }

// request describes a request to the registry.
type request struct {
	subject, topic string
	lookUp         bool
}

// classify classifies an error of the client: a decision of the registry halts the publisher, any other error is an outage.
func classify(err error, r request) error {
	var answer *sr.ResponseError
	if !errors.As(err, &answer) {
		return &Outage{err}
	}
	said := fmt.Sprintf("%s (HTTP status %d, error code %d)", brief(answer.Message), answer.StatusCode, answer.ErrorCode)
	switch {
	case answer.StatusCode == http.StatusConflict || answer.StatusCode == http.StatusUnprocessableEntity:
		return &halt.Halt{Reason: ErrIncompatible,
			Detail: fmt.Sprintf("subject %s, topic %s: %s", r.subject, r.topic, said),
			Repair: "nothing of the transaction was published; the WAL holds rows of this schema even if the table has changed since: set the compatibility of subject " + r.subject + " to NONE in the registry, restart pgtee, then restore it"}
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		return &halt.Halt{Reason: ErrRegistryRefuses, Detail: "credentials rejected: " + said,
			Repair: "check --schema-registry-auth-file and the privileges of that user, then restart pgtee"}
	case answer.StatusCode == http.StatusNotFound && r.lookUp && isRegistryCode(answer.ErrorCode):
		return &halt.Halt{Reason: ErrSchemaMissing,
			Detail: fmt.Sprintf("subject %s, topic %s: %s", r.subject, r.topic, said),
			Repair: "register the schema of the table as it is now, or restart pgtee without --no-auto-register"}
	}
	return &halt.Halt{Reason: ErrRegistryRefuses, Detail: said,
		Repair: "check that --schema-registry is the root of Confluent's REST interface (Apicurio: /apis/ccompat/v7), then restart pgtee"}
}

// isRegistryCode reports whether an error code is a registry's 404 (40401 subject, 40402 version, 40403 schema), not that of a web server.
func isRegistryCode(code int) bool { return code >= 40400 && code < 40500 }

const maxBriefBytes = 400

// brief shortens a server's response to one line.
func brief(text string) string {
	line := strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(line) > maxBriefBytes {
		line = strings.ToValidUTF8(line[:maxBriefBytes], "") + "…"
	}
	if line == "" {
		return "no reason given"
	}
	return line
}
