package shape

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// A pattern for a whole name is either a glob, in which * matches any run of characters and ? any single character, or a regular expression between
// slashes, /public\.(orders|items)/, which is not case-sensitive, as in Debezium's lists.

// IsGlob reports whether a pattern may match more than one name.
func IsGlob(pattern string) bool {
	_, regex := cutRegex(pattern)
	return regex || strings.ContainsAny(pattern, "*?")
}

// CheckPattern returns an error if a regular expression is invalid.
func CheckPattern(pattern string) error {
	text, regex := cutRegex(pattern)
	if !regex {
		return nil
	}
	if _, err := compile(text); err != nil {
		return fmt.Errorf("%s: %w", pattern, err)
	}
	return nil
}

func checkPatterns(patterns ...string) error {
	for _, p := range patterns {
		if err := CheckPattern(p); err != nil {
			return err
		}
	}
	return nil
}

// MatchesAny reports whether a whole name matches one of the patterns.
func MatchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return Matches(p, name) })
}

// Matches reports whether a whole name matches a pattern.
func Matches(pattern, name string) bool {
	text, regex := cutRegex(pattern)
	if !regex {
		return matchesGlob(pattern, name)
	}
	compiled, ok := regexes.Load(text)
	if !ok {
		r, err := compile(text)
		if err != nil {
			return false // CheckPattern has already refused it
		}
		compiled, _ = regexes.LoadOrStore(text, r)
	}
	return compiled.(*regexp.Regexp).MatchString(name)
}

// regexes caches the compiled expressions of the configuration.
var regexes sync.Map

func compile(text string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(text); err != nil {
		return nil, err
	}
	return regexp.Compile(`^(?is:` + text + `)$`)
}

// cutRegex returns the text between the slashes.
func cutRegex(pattern string) (text string, regex bool) {
	if len(pattern) < 2 || pattern[0] != '/' || pattern[len(pattern)-1] != '/' {
		return "", false
	}
	return pattern[1 : len(pattern)-1], true
}

// matchesGlob backtracks to the last star only, so it takes at most len(pattern)*len(name) steps.
func matchesGlob(pattern, name string) bool {
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
