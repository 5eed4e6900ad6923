package publisher

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// isGlob says whether a pattern may match more than one name.
func isGlob(pattern string) bool { return strings.ContainsAny(pattern, "*?") }

// MatchGlob says whether a whole name matches a glob: * is any run of characters, ? any one.
func MatchGlob(glob, name string) bool { return matches(glob, name) }

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// matches says whether a whole name matches a pattern: * is any run of characters, ? any one. It goes back to
// the last star only, so it takes len(pattern)*len(name) steps at most.
func matches(pattern, name string) bool {
	star, resume := "", ""
	starred := false
	for name != "" {
		switch {
		case strings.HasPrefix(pattern, "*"):
			star, resume, starred = pattern[1:], name, true
			pattern = star
			continue
		case pattern != "" && (pattern[0] == '?' || pattern[0] == name[0]):
			width := 1
			if pattern[0] == '?' {
				_, width = utf8.DecodeRuneInString(name)
			}
			pattern, name = pattern[1:], name[width:]
			continue
		case !starred:
			return false
		}
		resume = resume[1:]
		pattern, name = star, resume
	}
	return strings.Trim(pattern, "*") == ""
}
