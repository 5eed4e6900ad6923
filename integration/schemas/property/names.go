package property

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Names have a number at their start that identifies their object, so that it is recognised after it was renamed, or after a format has changed the
// name into an allowed one.

var oddities = []string{"", "", "_plain", " Upper Case", `_"quoted"`, "_do.t", "_ünï_é", "_'single'", `_back\slash`, "_SELECT", "_semi;colon", "_per%cent", "_$1",
	"_" + strings.Repeat("long", 20), "_" + strings.Repeat("é", 40), "_😀"}

// maxNameBytes is NAMEDATALEN - 1.
const maxNameBytes = 63

// oddName returns an unusual name with this prefix.
func (p *place) oddName(r *rand.Rand, start string) string {
	name := start + oddities[r.IntN(len(oddities))]
	for len(p.encode(name)) > maxNameBytes || !p.has(name) {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

var numbered = regexp.MustCompile(`^([a-z]+)(\d+)`)

// numberIn returns the number in a name with this prefix; -1 if it has none.
func numberIn(start, name string) int {
	match := numbered.FindStringSubmatch(name)
	if match == nil || match[1] != start {
		return -1
	}
	n, _ := strconv.Atoi(match[2])
	return n
}
