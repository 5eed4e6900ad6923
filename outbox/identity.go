package outbox

import "strings"

// IdentityParts splits the output of pg_identify_object(): public."My table".column.
func IdentityParts(identity string) (parts []string) {
	for rest := identity; rest != ""; {
		part, quoted := strings.CutPrefix(rest, `"`)
		if !quoted {
			part, rest, _ = strings.Cut(rest, ".")
			parts = append(parts, part)
			continue
		}
		end := 0
		for end < len(part) && (part[end] != '"' || strings.HasPrefix(part[end+1:], `"`)) {
			if part[end] == '"' {
				end++
			}
			end++
		}
		if end >= len(part) {
			return nil // unterminated quote: not from PostgreSQL
		}
		parts = append(parts, strings.ReplaceAll(part[:end], `""`, `"`))
		rest = strings.TrimPrefix(part[end+1:], ".")
	}
	return parts
}
