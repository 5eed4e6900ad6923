package proxy

import (
	"encoding/base64"
	"encoding/binary"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pgtee/pgtee/outbox/note"
)

// A Query of many tiny statements does not become many times as long, and each of its writes is under a text that has it.
func TestManyTinyStatements(t *testing.T) {
	for name, unit := range map[string]string{ // the part before | comes once
		"two in turn":      "DELETE FROM a;DELETE FROM b;",
		"transactions":     "TRUNCATE a;TRUNCATE b;TRUNCATE c;END;",
		"rolled back":      "TRUNCATE a;ROLLBACK TO s;TRUNCATE b;TRUNCATE c;",
		"one in turn":      "TRUNCATE a;END;",
		"with DDL":         "TRUNCATE a;DROP TABLE b;TRUNCATE c;",
		"with credentials": "TRUNCATE a;TRUNCATE b;INSERT INTO c (password) VALUES ('x');",
		"with settings":    "TRUNCATE a;SET b=c;TRUNCATE d;",
		"what may write":   "TRUNCATE a;CALL b();SELECT c();",
		"prepared":         "PREPARE a AS DELETE FROM a;PREPARE b AS DELETE FROM b;|EXECUTE a;EXECUTE b;",
		"unknown":          "EXECUTE a;TRUNCATE b;",
	} {
		for _, size := range []int{40 << 10, maxTextBytes - 1000} {
			once, again, found := strings.Cut(unit, "|")
			if !found {
				once, again = "", unit
			}
			text := once + strings.Repeat(again, size/len(again))
			sent := rewritten(t, text)
			if most := len(text)*7/3 + strings.Count(text, "END;")*180 + strings.Count(text, "TO s;")*360 + strings.Count(text, "DROP")*360 + strings.Count(text, "SET")*180 +
				strings.Count(text, "password")*400 + strings.Count(unit, "EXECUTE")%2*len(text)*18 + (maxNotes+100)*(spliceLength+20); len(sent) > most {
				t.Errorf("%s: %d bytes became %d, at most %d were expected", name, len(text), len(sent), most)
			}
			checkNotes(t, name, sent)
		}
	}
}

// rewritten returns the Query that the server gets.
func rewritten(t *testing.T, text string) (sent []byte) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(p []byte) [][]byte { return [][]byte{p} })
		s.start()
		defer s.close()
		p, err := encode(nil, clientShapes, "Query `"+text+"`")
		if err != nil {
			t.Fatal(err)
		}
		s.client.say <- p
		synctest.Wait()
		sent, _ = s.server.heard()
	})
	return textOf(sent)
}

var splicedNote = regexp.MustCompile(`^(?:SELECT pgtee\.note\('|/\*)([A-Za-z0-9+/=]*)(?:',current_user\)|\*/)$`)

// checkNotes runs through the statements of a Query, none of which holds a semicolon.
func checkNotes(t *testing.T, name string, sent []byte) {
	t.Helper()
	noted := ""
	for _, statement := range strings.Split(strings.TrimSuffix(string(sent), ";"), ";") {
		if m := splicedNote.FindStringSubmatch(statement); m != nil {
			noted = sqlOf(t, m[1], sent)
			continue
		}
		switch {
		case strings.HasPrefix(statement, "CALL pgtee.put("):
		case statement == "END", strings.HasPrefix(statement, "SET "), statement == "EXECUTE a" && name == "unknown":
			noted = ""
		case strings.HasPrefix(statement, "ROLLBACK"), strings.HasPrefix(statement, "PREPARE"):
		case !strings.Contains(noted, strings.ReplaceAll(statement, "'x'", "'<redacted>'")):
			t.Fatalf("%s: %q is under %.200q", name, statement, noted)
		}
	}
}

// sqlOf returns the SQL of a note in a Query.
func sqlOf(t *testing.T, payload string, query []byte) string {
	raw, err := base64.StdEncoding.DecodeString(payload)
	if err != nil || len(raw) < note.PayloadBytes {
		t.Fatal("malformed note", payload)
	}
	if note.Flags(raw[1])&note.FlagSQL != 0 {
		return string(raw[note.PayloadBytes:])
	}
	return string(query[binary.BigEndian.Uint32(raw[3:]):][:binary.BigEndian.Uint32(raw[7:])])
}
