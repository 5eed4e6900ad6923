package proxy

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pgtee/pgtee/outbox/note"
)

// shape is how a message is written in a conversation: its name, its kind, and its fields, one letter each:
// s string, b byte, h int16, i int32, c one column's name, v one text value, e error fields, r what remains.
type shape struct {
	name   string
	kind   byte
	fields string
}

var clientShapes = []shape{
	{"Query", 'Q', "s"}, {"Parse", 'P', "ssr"}, {"Bind", 'B', "ssr"}, {"Execute", 'E', "si"},
	{"Describe", 'D', "bs"}, {"Close", 'C', "bs"}, {"Sync", 'S', ""}, {"Flush", 'H', ""},
	{"CopyData", 'd', "r"}, {"CopyDone", 'c', ""}, {"CopyFail", 'f', "s"}, {"FunctionCall", 'F', "r"},
	{"Password", 'p', "s"}, {"Terminate", 'X', ""}, {"Unknown", '!', "r"},
	{"Startup", 0, "r"}, // without a kind
}

var serverShapes = []shape{
	{"Authentication", 'R', "ir"}, {"ParameterStatus", 'S', "ss"}, {"BackendKeyData", 'K', "ir"},
	{"ReadyForQuery", 'Z', "b"}, {"RowDescription", 'T', "c"}, {"DataRow", 'D', "v"}, {"CommandComplete", 'C', "s"},
	{"EmptyQueryResponse", 'I', ""}, {"ErrorResponse", 'E', "e"}, {"NoticeResponse", 'N', "e"},
	{"NotificationResponse", 'A', "iss"}, {"ParseComplete", '1', ""}, {"BindComplete", '2', ""},
	{"CloseComplete", '3', ""}, {"NoData", 'n', ""}, {"ParameterDescription", 't', "r"}, {"PortalSuspended", 's', ""},
	{"CopyInResponse", 'G', "r"}, {"CopyOutResponse", 'H', "r"}, {"CopyBothResponse", 'W', "r"}, {"CopyData", 'd', "r"},
	{"CopyDone", 'c', ""}, {"FunctionCallResponse", 'V', "r"}, {"Unknown", '!', "r"},
}

// encode appends the message of one line: a name and its fields, quoted as in Go where needed.
func encode(dst []byte, shapes []shape, line string) ([]byte, error) {
	words, err := splitWords(line)
	if err != nil {
		return nil, err
	}
	for _, s := range shapes {
		if s.name != words[0] {
			continue
		}
		body := appendFields(nil, s.fields, words[1:])
		if s.kind != 0 {
			dst = append(dst, s.kind)
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)+4))
		return append(dst, body...), nil
	}
	return nil, fmt.Errorf("unknown message %q", words[0])
}

// said is what lines look like on the wire.
func said(shapes []shape, lines ...string) (p []byte) {
	for _, line := range lines {
		var err error
		if p, err = encode(p, shapes, line); err != nil {
			panic(err) // the test's own text
		}
	}
	return p
}

// answer is said by a server.
func answer(lines ...string) []byte { return said(serverShapes, lines...) }

var wordPattern = regexp.MustCompile("^\\s*(\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`|[^\\s\"`]+(?:\"(?:[^\"\\\\]|\\\\.)*\")?)")

func splitWords(line string) (words []string, err error) {
	for strings.TrimSpace(line) != "" {
		m := wordPattern.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("cannot read %q", line)
		}
		line = line[len(m[0]):]
		word := m[1]
		if word[0] == '"' || word[0] == '`' {
			if word, err = strconv.Unquote(word); err != nil {
				return nil, err
			}
		}
		words = append(words, word)
	}
	return words, nil
}

func appendFields(body []byte, fields string, words []string) []byte {
	for i, field := range fields {
		word := ""
		if i < len(words) {
			word = words[i]
		}
		number, _ := strconv.Atoi(word)
		switch field {
		case 's':
			body = append(append(body, word...), 0)
		case 'b':
			body = append(body, word...)
		case 'h':
			body = binary.BigEndian.AppendUint16(body, uint16(number))
		case 'i':
			body = binary.BigEndian.AppendUint32(body, uint32(number))
		case 'c':
			body = append(append(append(body, 0, 1), word...), make([]byte, 19)...)
		case 'v':
			body = append(body, 0, 1)
			body = binary.BigEndian.AppendUint32(body, uint32(len(word)))
			body = append(body, word...)
		case 'e':
			for _, word := range words[i:] {
				body = append(append(append(body, word[0]), word[2:]...), 0)
			}
			body = append(body, 0)
		case 'r':
			body = append(body, word...)
		}
	}
	return body
}

// decode writes the messages of p, one per line, each after prefix; fields as show has them. What is not a whole
// message comes as bytes.
func decode(prefix string, shapes []shape, p []byte, show func([]byte) []byte) string {
	var lines strings.Builder
	for len(p) > 0 {
		size := 0
		if len(p) >= headerBytes {
			size = int(binary.BigEndian.Uint32(p[1:])) + 1
		}
		s := shapeOf(shapes, p[0])
		if s == nil || size < headerBytes || size > len(p) {
			fmt.Fprintf(&lines, "%s %q\n", prefix, p)
			break
		}
		fmt.Fprintf(&lines, "%s %s%s\n", prefix, s.name, readFields(s.fields, p[headerBytes:size], show))
		p = p[size:]
	}
	return lines.String()
}

func shapeOf(shapes []shape, kind byte) *shape {
	for i := range shapes {
		if shapes[i].kind == kind {
			return &shapes[i]
		}
	}
	return nil
}

func readFields(fields string, body []byte, show func([]byte) []byte) string {
	var words strings.Builder
	for _, field := range fields {
		var word []byte
		switch field {
		case 's':
			word, body, _ = bytes.Cut(body, []byte{0})
		case 'b':
			word, body = body[:1], body[1:]
		case 'h':
			word, body = strconv.AppendInt(nil, int64(int16(binary.BigEndian.Uint16(body))), 10), body[2:]
		case 'i':
			word, body = strconv.AppendInt(nil, int64(int32(binary.BigEndian.Uint32(body))), 10), body[4:]
		case 'c':
			word, _, _ = bytes.Cut(body[2:], []byte{0})
		case 'v':
			word = body[6:]
		case 'e':
			for len(body) > 1 {
				value, rest, _ := bytes.Cut(body[1:], []byte{0})
				fmt.Fprintf(&words, " %c=%q", body[0], value)
				body = rest
			}
			continue
		case 'r':
			if len(body) == 0 {
				continue
			}
			word = body
		}
		words.WriteString(" " + quote(show(word)))
	}
	return words.String()
}

var plainWord = regexp.MustCompile(`^[-A-Za-z0-9_.]+$`)

func quote(word []byte) string {
	if plainWord.Match(word) {
		return string(word)
	}
	return strconv.Quote(string(word))
}

var notePattern = regexp.MustCompile(`A[w-z0-9+/][A-Za-z0-9+/]{123,}={0,2}`)

// notesIn replaces each note by what it says. query is the text that current_query() would give.
func notesIn(key, query []byte) func([]byte) []byte {
	return func(word []byte) []byte {
		return notePattern.ReplaceAllFunc(word, func(text []byte) []byte {
			note, err := readNote(string(text), key, query)
			if err != nil {
				note = fmt.Sprintf("{%v}", err)
			}
			return []byte(note)
		})
	}
}

func readNote(text string, key, query []byte) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", err
	}
	if len(raw) < note.PayloadBytes {
		return "", note.ErrNote
	}
	be := binary.BigEndian
	var n note.Note
	n.Payload = note.Payload{
		Flags: note.Flags(raw[1]) | note.Flags(raw[65])<<8, KeyID: raw[2], Offset: be.Uint32(raw[3:]), Length: be.Uint32(raw[7:]),
		ProxyID: be.Uint32(raw[11:]), Session: note.SessionID(be.Uint64(raw[15:])),
		Counter: be.Uint32(raw[23:]), Statement: be.Uint32(raw[27:]), Time: time.UnixMicro(int64(be.Uint64(raw[31:]))),
		Fingerprint: be.Uint64(raw[57:]), Process: int32(be.Uint32(raw[66:])), UserTag: be.Uint64(raw[70:]), MAC: [16]byte(raw[78:]),
	}
	switch {
	case n.Flags&note.FlagSQL != 0:
		n.SQL = raw[note.PayloadBytes:]
	case n.Flags&note.FlagQuery != 0 && uint64(n.Offset)+uint64(n.Length) <= uint64(len(query)):
		n.SQL = query[n.Offset:][:n.Length]
	}
	trust := "forged"
	if note.MasterKey(key).Signer(n.ProxyID).Check(&n) && n.Process == 4711 && n.UserTag == note.UserTag([]byte("ann")) {
		trust = "signed"
	}
	sql := string(n.SQL)
	if len(sql) > 100 {
		sql = fmt.Sprintf("%s… %d bytes", sql[:100], len(sql))
	}
	return fmt.Sprintf("{%s, note %d, statement %d%s: %s}", trust, n.Counter, n.Statement, flagNames(n.Flags), sql), nil
}

// isNote reports whether a text calls for a note, or prepares that.
func isNote(text string) bool {
	return strings.Contains(text, "pgtee.note(") || strings.Contains(text, "pgtee.sign(") || strings.Contains(text, "pgtee.put(")
}

// payloadIn returns the payload that such a text brings, its parameters put in.
func payloadIn(text string) string {
	for _, call := range []string{"pgtee.note('", "pgtee.sign('"} {
		if _, after, found := strings.Cut(text, call); found {
			payload, _, _ := strings.Cut(after, "'")
			return payload
		}
	}
	if before, _, found := strings.Cut(text, "*/;CALL pgtee.put("); found {
		return before[strings.LastIndex(before, "/*")+2:]
	}
	return ""
}

func flagNames(flags note.Flags) (names string) {
	for i, name := range []string{"row", "query", "sql", "redacted", "after", "", "", "ddl", "behind", "nameless", "signed", "any-user", "pooled"} {
		if flags&(1<<i) != 0 && name != "" {
			names += " " + name
		}
	}
	return names
}
