package proxy

import (
	"bytes"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
)

// settings is what the server's ParameterStatus messages report about a session. A value is never modified: the reply side replaces it, the request
// side reads it.
type settings struct {
	user     string // session_authorization
	encoding encoding
	client   string // client_encoding
	server   string // server_encoding
	lexis    parser.Lexis
	standby  bool // in_hot_standby
	major    int  // of server_version; 0 if unknown
}

// with returns the settings after a ParameterStatus, or s itself if nothing has changed.
func (s *settings) with(name, value string) *settings {
	changed := *s
	switch name {
	case "session_authorization":
		changed.user = value
	case "client_encoding":
		changed.encoding, changed.client = encodingOf(value), value
		changed.lexis.MultiByte = changed.encoding.unsafe()
	case "server_encoding":
		changed.server = value
	case "standard_conforming_strings":
		changed.lexis.StandardConformingStrings = value == "on"
	case "in_hot_standby":
		changed.standby = value == "on"
	case "server_version":
		changed.major = majorOf(value)
	}
	if changed == *s {
		return s
	}
	return &changed
}

// converts reports whether the server converts the client's text to another encoding.
func (s *settings) converts() bool {
	return s.client != s.server && s.client != "SQL_ASCII" && s.server != "SQL_ASCII"
}

// majorOf parses the number at the start of a version such as "17.2 (Debian 17.2-1)" or "18beta1".
func majorOf(version string) (major int) {
	for _, digit := range []byte(version) {
		if digit < '0' || digit > '9' || major > 1000 {
			break
		}
		major = 10*major + int(digit-'0')
	}
	return major
}

// lexisFlags returns the flags that tell the publisher how to read the SQL of a note.
func (s *settings) lexisFlags() (flags note.Flags) {
	if !s.lexis.StandardConformingStrings {
		flags |= note.FlagBackslash
	}
	if s.lexis.MultiByte {
		flags |= note.FlagMultiByte
	}
	return flags
}

// parameterStatus parses the body of a ParameterStatus message.
func parameterStatus(body []byte) (name, value string, ok bool) {
	key, rest, ok := cutString(body)
	if !ok {
		return "", "", false
	}
	val, _, ok := cutString(rest)
	return string(key), string(val), ok
}

// cutString splits the first zero-terminated string off a message's body. It returns slices of body.
func cutString(body []byte) (first, rest []byte, ok bool) {
	return bytes.Cut(body, []byte{0})
}
