package publisher

import (
	"fmt"
	"strings"
)

// ConditionSQL returns a text in the language of Filter as SQL for a WHERE clause. Who may ask for a snapshot gives the text
// and the publisher's role runs it: so it names columns of the table and constants, and can call nothing.
func ConditionSQL(text string) (string, error) {
	if err := CheckFilter(text); err != nil {
		return "", err
	}
	tokens, err := tokenize(text)
	if err != nil {
		return "", fmt.Errorf("filter %w", err)
	}
	parts := make([]string, 0, len(tokens))
	for _, t := range tokens[:len(tokens)-1] {
		parts = append(parts, t.sql())
	}
	return strings.Join(parts, " "), nil
}

// sql is the token as every session reads it, whatever its settings.
func (t token) sql() string {
	switch {
	case t.kind == literal:
		return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(t.text) + "'"
	case t.kind == name, t.kind == word && !keywords[t.text]:
		return `"` + strings.ReplaceAll(t.text, `"`, `""`) + `"`
	}
	return t.text
}
