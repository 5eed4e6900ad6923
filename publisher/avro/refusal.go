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
	ErrIncompatible    = errors.New("the schema registry refuses a schema")
	ErrSchemaMissing   = errors.New("the schema registry does not have a schema")
	ErrRegistryRefuses = errors.New("the schema registry refuses")
)

// Outage is a registry that did not answer, or answered that it cannot work now.
type Outage struct{ err error }

func (o *Outage) Error() string { return "the schema registry does not answer: " + o.err.Error() }
func (o *Outage) Unwrap() error { return o.err }

// Temporary says that another try may succeed.
func (o *Outage) Temporary() bool { return true }

// request is what the registry was asked for.
type request struct {
	subject, topic string
	lookUp         bool
}

// classify says what becomes of an error of the client: what the registry decided halts, all else is an outage.
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
			Repair: "nothing of it is published; the log holds rows of this schema whatever becomes of the table: set the compatibility of subject " + r.subject + " to NONE in the registry, start pgtee again, then set it back"}
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		return &halt.Halt{Reason: ErrRegistryRefuses, Detail: "the credentials: " + said,
			Repair: "check --schema-registry-auth-file and what that user may do, then start pgtee again"}
	case answer.StatusCode == http.StatusNotFound && r.lookUp && isRegistryCode(answer.ErrorCode):
		return &halt.Halt{Reason: ErrSchemaMissing,
			Detail: fmt.Sprintf("subject %s, topic %s: %s", r.subject, r.topic, said),
			Repair: "register the schema of the table as it is now, or start pgtee without --no-auto-register"}
	}
	return &halt.Halt{Reason: ErrRegistryRefuses, Detail: said,
		Repair: "check that --schema-registry is the root of Confluent's REST interface (Apicurio: /apis/ccompat/v7), then start pgtee again"}
}

// isRegistryCode tells a registry's 404 (40401 subject, 40402 version, 40403 schema) from one of a web server.
func isRegistryCode(code int) bool { return code >= 40400 && code < 40500 }

const maxBriefBytes = 400

// brief makes one line of what a server said.
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
