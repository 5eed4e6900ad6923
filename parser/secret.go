package parser

import (
	"bytes"
	"strings"
)

// secretNames are parts of names of credentials. KEY in a name counts only where something is defined or set.
var secretNames = []string{"PASSW", "PASSP", "PWD", "SECRET", "TOKEN", "CREDENTIAL", "APIKEY", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "JWT"}

// IsSecretName reports whether a column with this name holds credentials.
func IsSecretName(name []byte) bool { return isSecretName(name, false) }

// isSecretName reports whether an option, setting or column with this name holds a credential.
func isSecretName(name []byte, definition bool) bool {
	for _, part := range secretNames {
		if containsFold(name, part) {
			return true
		}
	}
	return definition && (containsFold(name, "KEY") || containsFold(name, "CONNINFO") || containsFold(name, "_COMMAND")) || bytes.HasPrefix(name, []byte(`U&"`)) || bytes.HasPrefix(name, []byte(`u&"`))
}

// takesKey reports whether a function with this name takes keys or passwords: functions of pgcrypto and of extensions for secrets and clouds.
func takesKey(name []byte) bool {
	return containsFold(name, "CRYPT") || containsFold(name, "HMAC") || containsFold(name, "_CREDENTIALS") ||
		containsFold(name, "_SECRET") || containsFold(name, "ACCOUNT_ADD")
}

// callsForKey reports whether a text, such as a function body, calls a function that takes a key.
func callsForKey(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '(' {
			continue
		}
		end := i
		for end > 0 && classes[text[end-1]]&space != 0 {
			end--
		}
		start := end
		for start > 0 && (text[start-1] == '_' || text[start-1]|0x20 >= 'a' && text[start-1]|0x20 <= 'z') {
			start--
		}
		if name := text[start:end]; takesKey(name) || containsFold(name, "DBLINK") {
			return true
		}
	}
	return false
}

// tokenPrefixes are the beginnings of well-known kinds of tokens.
var tokenPrefixes = []string{"EYJ", "AKIA", "PRIVATE KEY", "SK_LIVE", "XOXB-", "GHP_"}

// isPasswordName reports whether a name is that of a password.
func isPasswordName(name []byte) bool {
	return containsFold(name, "PASSW") || containsFold(name, "PASSP") || containsFold(name, "PWD")
}

// Leaks reports whether a text by itself may contain a credential.
func Leaks(text []byte) bool { return leaks(text) }

// leaks reports whether a literal or comment may contain a credential: it mentions a password or a bearer token, assigns a secret, or is a URL with a
// password.
func leaks(text []byte) bool {
	if isPasswordName(text) {
		return true
	}
	if bytes.ContainsAny(text, "=:") && (containsFold(text, "SECRET") || containsFold(text, "TOKEN") ||
		containsFold(text, "CREDENTIAL") || containsFold(text, "KEY=")) {
		return true
	}
	for _, prefix := range tokenPrefixes {
		if containsFold(text, prefix) && (prefix != "EYJ" || bytes.Contains(text, []byte("eyJ")) && bytes.IndexByte(text, '.') > 0) {
			return true
		}
	}
	return containsFold(text, "BEARER ") || holdsURL(text) || callsForKey(text)
}

// holdsURL reports whether text contains a URL in which libpq would find a password: ://user:password@.
func holdsURL(text []byte) bool {
	for {
		_, rest, found := bytes.Cut(text, []byte("://"))
		if !found {
			return false
		}
		end := bytes.IndexAny(rest, "@/")
		if end >= 0 && rest[end] == '@' && bytes.IndexByte(rest[:end], ':') >= 0 {
			return true
		}
		text = rest[max(end-1, 0):] // from the colon of the next ://
	}
}

// isObscure reports whether a literal encodes characters as escapes, which hides its words.
func isObscure(text []byte) bool {
	if text[0]|0x20 == 'u' {
		return true
	}
	if text[0] == '$' {
		return false
	}
	for i := 0; i+1 < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		if c := text[i]; c|0x20 == 'x' || c|0x20 == 'u' || '0' <= c && c <= '7' {
			return true
		}
	}
	return false
}

// containsFold reports whether text contains a word, given in capitals, ignoring case.
func containsFold(text []byte, capitals string) bool {
	for i := 0; i+len(capitals) <= len(text); i++ {
		if upper(text[i]) == capitals[0] && equalFold(text[i:i+len(capitals)], capitals) {
			return true
		}
	}
	return false
}

// mentionsSecret is a quick test that is false for most texts: then no rule of Redact applies to sql. It looks for one of the rarer letters
// of each word that the rules look for.
func mentionsSecret(sql []byte) bool {
	for i, c := range sql {
		switch c {
		case 'b', 'B':
			if around(sql, i, 0, "BEARER ") {
				return true
			}
		case 'w', 'W':
			if around(sql, i, 4, "PASSW") || around(sql, i, 1, "PWD") {
				return true
			}
		case 'j', 'J':
			if around(sql, i, 0, "JWT") || around(sql, i, 2, "EYJ") {
				return true
			}
		case 'x', 'X':
			if around(sql, i, 0, "XOXB-") {
				return true
			}
		case '_':
			if around(sql, i, 0, "_COMMAND") || around(sql, i, 3, "GHP_") || around(sql, i, 7, "ACCOUNT_ADD") {
				return true
			}
		case 'y', 'Y':
			if around(sql, i, 2, "CRYPT") {
				return true
			}
		case 'g', 'G':
			if around(sql, i, 3, "PROGRAM") {
				return true
			}
		case 'k', 'K':
			if around(sql, i, 1, "AKIA") || around(sql, i, 1, "SK_LIVE") || around(sql, i, 0, "KEY") || around(sql, i, 2, "TOKEN") || around(sql, i, 5, "DBLINK") {
				return true
			}
		case 'c', 'C':
			if around(sql, i, 2, "SECRET") || around(sql, i, 0, "CREDENTIAL") || around(sql, i, 5, "CONNECTION") || around(sql, i, 0, "CONNINFO") || around(sql, i, 3, "HMAC") {
				return true
			}
		case 'p', 'P':
			if around(sql, i, 4, "PASSP") {
				return true
			}
		case ':':
			if around(sql, i, 0, "://") {
				return true
			}
		case '\\', '&': // escaped characters
			return true
		}
	}
	return false
}

// around reports whether text contains a word, given in capitals, that starts n bytes before position i.
func around(text []byte, i, n int, capitals string) bool {
	start := i - n
	return start >= 0 && start+len(capitals) <= len(text) && equalFold(text[start:start+len(capitals)], capitals)
}

// reading is what is known about a statement.
type reading struct {
	definition bool // it defines or sets something
	columns    bool // and it defines columns or domains
	copy       bool // it is a COPY
	all        bool // it mentions a password in a way that no rule covers: any literal may be the password
}

// understand determines the kind of a statement from its first words.
func understand(text []byte, lexis Lexis) reading {
	p := newPhrase(text, lexis)
	switch first := p.word(); first {
	case "SET", "RESET", "SHOW", "COMMENT", "GRANT", "REVOKE", "IMPORT", "SECURITY":
		return reading{definition: true}
	case "COPY":
		return reading{copy: true, all: p.mentionsPassword()}
	case "CREATE", "ALTER", "DROP":
		p.advance()
		_, kind := p.object(first)
		r := reading{definition: true, columns: strings.HasSuffix(kind, "TABLE") || kind == "TYPE" || kind == "DOMAIN"}
		switch kind {
		case "ROLE":
			r.all = p.hasOddPassword()
		case "", "VIEW", "MATERIALIZED VIEW", "RULE", "FUNCTION", "PROCEDURE": // these contain queries
			r.all = p.mentionsPassword()
		case "TABLE":
			r.all = first == "CREATE" && p.find("AS") != "" && p.mentionsPassword()
		}
		return r
	}
	return reading{all: p.mentionsPassword()}
}

// hasOddPassword reports whether PASSWORD is followed by something other than a literal or NULL.
func (p *phrase) hasOddPassword() bool {
	for !p.ends() {
		if p.accept("PASSWORD") && p.kind != literal && !p.isWord(p.token, "NULL") {
			return true
		}
		p.advance()
	}
	return false
}

// mentionsPassword reports whether any following name is that of a password.
func (p *phrase) mentionsPassword() bool {
	for ; !p.ends(); p.advance() {
		if (p.kind == word || p.kind == quoted) && isPasswordName(p.text(p.token)) {
			return true
		}
	}
	return false
}
