package subscriber

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// difference returns an updated row with its changes: unchanged columns as they are, the others as before -> after. A value that is not a JSON object
// is returned as it is.
func (p *Printer) difference(before, after json.RawMessage) string {
	var old, now map[string]json.RawMessage
	if json.Unmarshal(before, &old) != nil || json.Unmarshal(after, &now) != nil || old == nil || now == nil {
		return clean(string(after))
	}
	var same, changed []string
	for _, name := range slices.Sorted(maps.Keys(now)) {
		value := clean(string(now[name]))
		was, known := old[name]
		switch {
		case known && bytes.Equal(was, now[name]):
			same = append(same, clean(name)+": "+value)
		case known:
			changed = append(changed, clean(name)+": "+p.paint(red, clean(string(was)))+" -> "+p.paint(green, value))
		default: // before contains only the key
			changed = append(changed, clean(name)+": "+p.paint(green, value))
		}
	}
	return "{" + strings.Join(append(same, changed...), ", ") + "}"
}
