package publisher

import (
	"bytes"
	"net/url"
	"slices"

	"github.com/pgtee/pgtee/parser"
	"github.com/pgtee/pgtee/publisher/record"
)

const (
	traceparentBytes   = 55 // 00-<32 digits>-<16 digits>-<2 digits>
	maxTracestateBytes = 512

	maxClaims      = 32
	maxClaimBytes  = 1 << 10 // of one value
	maxClaimsBytes = 4 << 10 // of all keys and values together
)

// claims are the values in the comments of a statement. They are set by the client and not verified. Their format is that of sqlcommenter:
// key='value' separated by commas, values percent-encoded (https://google.github.io/sqlcommenter/spec).
type claims struct {
	trace, state []byte // traceparent and tracestate; nil: none
	list         []claim
	bytes        int     // of list
	fields       []claim // scratch
}

// claim is the value of one key.
type claim struct{ key, value []byte }

// read reads the claims in sql, which it does not keep.
func (c *claims) read(sql []byte, lexis parser.Lexis) {
	c.trace, c.state, c.bytes = nil, nil, 0
	c.list = record.Recycle(c.list)
	if !bytes.Contains(sql, []byte("='")) || !bytes.Contains(sql, []byte("/*")) {
		return
	}
	for comment := range parser.Comments(sql, lexis) {
		if c.trace == nil {
			c.trace = bytes.Clone(traceparent(comment))
		}
		c.comment(comment)
	}
	if state := c.get(record.TracestateHeader); c.trace != nil && isTracestate(state) {
		c.state = state
	}
}

// comment adds the claims of one comment. A comment with any other content has none.
func (c *claims) comment(rest []byte) {
	c.fields = c.fields[:0]
	for {
		key, after, found := bytes.Cut(bytes.TrimSpace(rest), []byte("='"))
		if !found || !isClaimKey(key) {
			return
		}
		value, after, ok := quotedClaim(after)
		if !ok {
			return
		}
		c.fields = append(c.fields, claim{key, value})
		after = bytes.TrimSpace(after)
		if len(after) == 0 {
			break
		}
		if after[0] != ',' {
			return
		}
		rest = after[1:]
	}
	for _, f := range c.fields {
		c.add(f.key, decoded(f.value))
	}
}

// quotedClaim reads up to the quote that ends a value. A percent-encoded value has no white space.
func quotedClaim(text []byte) (value, after []byte, ok bool) {
	for i := 0; i < len(text); i++ {
		switch ch := text[i]; {
		case ch <= ' ':
			return nil, nil, false
		case ch == '\\' && i+1 < len(text):
			i++
			value = append(value, text[i])
		case ch == '\'':
			return value, text[i+1:], true
		default:
			value = append(value, ch)
		}
	}
	return nil, nil, false
}

// decoded returns a value percent-decoded, or unchanged if it is not percent-encoded.
func decoded(value []byte) []byte {
	if text, err := url.PathUnescape(string(value)); err == nil {
		return []byte(text)
	}
	return value
}

// isClaimKey reports whether a word can be a key. All keys in use qualify.
func isClaimKey(key []byte) bool {
	for _, c := range key {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return len(key) > 0 && len(key) <= 64
}

// add adds a claim if its key is new and the limits allow it.
func (c *claims) add(key, value []byte) {
	value = record.Cut(value, maxClaimBytes)
	if parser.Leaks(slices.Concat(key, []byte("="), value)) {
		value = []byte("<redacted>")
	}
	size := len(key) + len(value)
	if len(c.list) == maxClaims || c.bytes+size > maxClaimsBytes || slices.ContainsFunc(c.list, func(o claim) bool { return bytes.Equal(o.key, key) }) {
		return
	}
	c.list = append(c.list, claim{bytes.Clone(key), value})
	c.bytes += size
}

// get returns the value of a key, nil if there is none.
func (c *claims) get(key string) []byte {
	for _, f := range c.list {
		if string(f.key) == key {
			return f.value
		}
	}
	return nil
}

// actorKey is the key for the person or service that the client acts for: with a pooled login the server sees only one user.
const actorKey = "actor"

// appendActor appends the field "actor" of the session: that of the comment or else of the setting. Without either it appends nothing.
func (c *claims) appendActor(dst, setting []byte) []byte {
	actor := c.get(actorKey)
	if actor == nil {
		actor = setting
	}
	if actor != nil {
		dst = record.AppendJSONString(append(dst, `,"actor":`...), actor)
	}
	return dst
}

// appendContext appends a comma and the object of all claims but the actor, or nothing if there are none.
func (c *claims) appendContext(dst []byte) []byte {
	start := len(dst)
	for _, f := range c.list {
		if string(f.key) == actorKey {
			continue
		}
		if len(dst) == start {
			dst = append(dst, `,"context":{`...)
		} else {
			dst = append(dst, ',')
		}
		dst = append(record.AppendJSONString(dst, f.key), ':')
		dst = record.AppendJSONString(dst, f.value)
	}
	if len(dst) > start {
		dst = append(dst, '}')
	}
	return dst
}

// traceparent returns the traceparent in a comment, nil if it has none or the value is malformed.
func traceparent(comment []byte) []byte {
	_, value, found := bytes.Cut(comment, []byte("traceparent='"))
	if !found || len(value) <= traceparentBytes || value[traceparentBytes] != '\'' || !isTraceparent(value[:traceparentBytes]) {
		return nil
	}
	return value[:traceparentBytes]
}

func isTraceparent(value []byte) bool {
	trace, parent, flags := value[3:35], value[36:52], value[53:]
	return string(value[:3]) == "00-" && value[35] == '-' && value[52] == '-' &&
		isLowerHex(trace) && isLowerHex(parent) && isLowerHex(flags) &&
		len(bytes.Trim(trace, "0")) > 0 && len(bytes.Trim(parent, "0")) > 0
}

func isLowerHex(digits []byte) bool {
	for _, c := range digits {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isTracestate reports whether a value is allowed in the tracestate header: printable ASCII.
func isTracestate(value []byte) bool {
	for _, c := range value {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(value) > 0 && len(value) <= maxTracestateBytes
}
