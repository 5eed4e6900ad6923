package proxy

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// clientError is an error that the proxy itself sends to a client, immediately before it closes the session.
type clientError struct {
	code    string // SQLSTATE
	message string
	hint    string
}

func (e *clientError) Error() string { return e.message }

// append appends the ErrorResponse.
func (e *clientError) append(dst []byte) []byte {
	response := pgproto3.ErrorResponse{
		Severity: "FATAL", SeverityUnlocalized: "FATAL",
		Code: e.code, Message: e.message, Hint: e.hint,
	}
	// Encode fails only for a message longer than the protocol allows.
	out, err := response.Encode(dst)
	if err != nil {
		return dst
	}
	return out
}

// drainError is the error that PostgreSQL sends when it shuts down.
func drainError() *clientError {
	return &clientError{code: "57P01", message: "terminating connection due to administrator command"}
}

func startupError(problem string) *clientError {
	return &clientError{code: "08P01", message: "pgtee: " + problem}
}

func versionError(major, minor uint32) *clientError {
	return &clientError{code: "0A000",
		message: fmt.Sprintf("unsupported frontend protocol %d.%d: server supports 3.0 to 3.2", major, minor)}
}

func idleError() *clientError {
	return &clientError{code: "57P05", message: "terminating connection due to idle-session timeout"}
}

func idleInTransactionError() *clientError {
	return &clientError{code: "25P03", message: "terminating connection due to idle-in-transaction timeout"}
}

func tooManyError(whose, flag string) *clientError {
	return &clientError{code: "53300", message: "pgtee: too many sessions of " + whose, hint: "Close some, or raise the proxy's " + flag + "."}
}

func refusedError(kind, name string) *clientError {
	return &clientError{code: "28000", message: fmt.Sprintf("pgtee: this proxy does not serve %s %q", kind, name),
		hint: "Its flags --allow-databases, --allow-users, --refuse-databases and --refuse-users decide whom it serves."}
}

func plainError() *clientError {
	return &clientError{code: "28000", message: "pgtee: this proxy requires TLS", hint: "Connect with sslmode=require or stronger."}
}

func certificateError(user string) *clientError {
	return &clientError{code: "28000", message: fmt.Sprintf("pgtee: the client certificate is not that of user %q", user),
		hint: "Its common name must be the user name."}
}

func bindingError() *clientError {
	return &clientError{code: "28000", message: "pgtee: channel binding cannot pass through this proxy",
		hint: "Connect with channel_binding=disable, or give the proxy the certificate of the server itself."}
}

func unreachableError(err error) *clientError {
	return &clientError{code: "08001",
		message: "pgtee: cannot connect to PostgreSQL: " + strings.ReplaceAll(err.Error(), "\n", "; "),
		hint:    "Check that the server runs and that the proxy's --postgres names it."}
}

func roleError(target Target) *clientError {
	return &clientError{code: "57P03", message: "pgtee: the server has changed its role during the login: it is not " + string(target) + " any more",
		hint: "Connect again."}
}

func outboxError(database string, why problem, owner string) *clientError {
	switch why {
	case nested:
		return &clientError{code: "57P03",
			message: "pgtee: the server of this proxy is another pgtee proxy, and this one requires an outbox",
			hint:    "Name the server itself in --postgres, or start this proxy without --require-outbox."}
	case distrust:
		return &clientError{code: "57P03",
			message: fmt.Sprintf("pgtee: schema pgtee of database %q belongs to role %q, whom this proxy does not trust", database, owner),
			hint:    "If that role ran \"pgtee setup\", start the proxy with --trust-owner; else drop the schema."}
	}
	return &clientError{code: "57P03",
		message: fmt.Sprintf("pgtee: database %q has no outbox, and this proxy requires one", database),
		hint:    "Run \"pgtee setup\" for this database, or start the proxy without --require-outbox."}
}

// outboxGoneError ends a session whose transaction has notes, and could have no further ones.
func outboxGoneError(database string) *clientError {
	return &clientError{code: "57P03",
		message: fmt.Sprintf("pgtee: the outbox of database %q is gone: the transaction cannot go on, and is rolled back", database),
		hint:    "Connect again. For attribution, run \"pgtee setup\" first."}
}

// forgeryError refuses a text that calls for a note, and whose statements cannot each get a note in front: see guard.
func forgeryError() *clientError {
	return &clientError{code: "54000", message: "pgtee: only the proxy calls pgtee.note() and pgtee.sign(): this text is too long, or cannot be read",
		hint: "Send its statements one by one."}
}

func lostError() *clientError {
	return &clientError{code: "08P01",
		message: "pgtee: the server's replies do not match the requests of this session",
		hint:    "The session's last transaction may or may not have been committed. Connect again."}
}
