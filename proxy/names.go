package proxy

import (
	"slices"
	"strings"
)

// Names admits some names and refuses others, by patterns in which * matches any run of characters and ? any single character. An empty Allow admits
// every name.
type Names struct{ Allow, Refuse []string }

func (n Names) admits(name string) bool {
	return (len(n.Allow) == 0 || matchesAny(n.Allow, name)) && !matchesAny(n.Refuse, name)
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// matches reports whether the whole name matches a pattern, as the publisher's patterns do. It backtracks to the last star only, so it takes at
// most len(pattern)*len(name) steps.
func matches(pattern, name string) bool {
	star, resume, starred := "", "", false
	for name != "" {
		switch {
		case strings.HasPrefix(pattern, "*"):
			star, resume, starred = pattern[1:], name, true
			pattern = star
			continue
		case strings.HasPrefix(pattern, "?"):
			pattern, name = pattern[1:], name[min(utf8Size(name[0]), len(name)):]
			continue
		case pattern != "" && pattern[0] == name[0]:
			pattern, name = pattern[1:], name[1:]
			continue
		case !starred:
			return false
		}
		resume = resume[1:]
		pattern, name = star, resume
	}
	return strings.Trim(pattern, "*") == ""
}
