package console

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// functions are the functions available in the templates.
var functions = template.FuncMap{
	"bytes":    SizeText,
	"count":    countText,
	"span":     spanText,
	"iso":      func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") },
	"clock":    func(t time.Time) string { return t.UTC().Format("15:04:05.000") },
	"moment":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") },
	"asset":    assetPath,
	"join":     strings.Join,
	"short":    func(text string) string { return cut(strings.Join(strings.Fields(text), " "), 240) },
	"percent":  func(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + " %" },
	"bare":     func(table string) string { return strings.TrimPrefix(table, "public.") },
	"plural":   plural,
	"plural64": func(n int64, one, many string) string { return plural(int(n), one, many) },
	"bytes64":  func(n int) string { return SizeText(int64(n)) },
	"operator": func(op string) string { return operations[op] },
}

// SizeText formats a size in PostgreSQL's units.
func SizeText(bytes int64) string {
	size, unit := float64(bytes), "B"
	for _, next := range []string{"kB", "MB", "GB", "TB"} {
		if math.Abs(size) < 1024 {
			break
		}
		size, unit = size/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}

// countText formats a number with thin spaces between thousands.
func countText(n any) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

func spanText(d time.Duration) string {
	switch {
	case d < 0:
		return "–"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return countText(n) + " " + many
}

// cut shortens a text to n bytes, and marks it as shortened.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}

var operations = map[string]string{"c": "insert", "u": "update", "d": "delete", "r": "copied", "t": "truncate", "m": "message"}
