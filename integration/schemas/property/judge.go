package property

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Verdict is the result of a run.
type Verdict struct {
	Tables, Records, Unequal, Stale, KeysChanged int
	Findings                                     []string // in readable form
}

func (v *Verdict) String() string {
	return fmt.Sprintf("schemas tables=%d records=%d unequal=%d stale=%d keys_changed=%d", v.Tables, v.Records, v.Unequal, v.Stale, v.KeysChanged)
}

// Clean reports whether there are no errors.
func (v *Verdict) Clean() bool { return v.Unequal+v.Stale+v.KeysChanged == 0 }

// Add adds the verdict of another run.
func (v *Verdict) Add(other *Verdict) {
	v.Tables += other.Tables
	v.Records += other.Records
	v.Unequal += other.Unequal
	v.Stale += other.Stale
	v.KeysChanged += other.KeysChanged
	v.Findings = append(v.Findings, other.Findings...)
}

// judged is one table and its topic.
type judged struct {
	table    *table
	fold     *fold
	held     map[string]row // rows of the table, now or when it was dropped
	filtered bool
	major    int
}

// unequal returns the differences between the table and its folded topic.
func (j *judged) unequal() (wrong []string) {
	byID := map[string]row{}
	for _, r := range j.fold.rows {
		if byID[r[columnID]] != nil {
			wrong = append(wrong, fmt.Sprintf("row %s stands under two keys", r[columnID]))
		}
		byID[r[columnID]] = r
	}
	for _, id := range slices.Sorted(maps.Keys(j.held)) {
		want := j.held[id]
		if j.filtered && !passes(want) {
			continue
		}
		if got := byID[id]; got == nil {
			wrong = append(wrong, fmt.Sprintf("row %s is missing: %s", id, want))
		} else {
			wrong = append(wrong, j.differences(got, want)...)
		}
		delete(byID, id)
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		wrong = append(wrong, fmt.Sprintf("row %s is in the topic, and not in the table: %s", id, byID[id]))
	}
	return append(wrong, j.kinds()...)
}

// passes reports whether a row satisfies the filter "c2 >= 0".
func passes(r row) bool {
	n, err := strconv.ParseFloat(r[columnFilter], 64)
	return err == nil && n >= 0
}

func (j *judged) differences(got, want row) (wrong []string) {
	for _, c := range j.table.columns {
		v, told := got[c.number]
		if v == want[c.number] || !told && want[c.number] == null || j.excused(c, v, told) {
			continue
		}
		if !told {
			v = "not there"
		}
		wrong = append(wrong, fmt.Sprintf("row %s: %s (%s) is %.80s, want %.80s", want[columnID], c.name, c.kind.sql(j.table.number), v, want[c.number]))
	}
	return wrong
}

// kinds returns the columns whose values have changed form more often than the column has changed type.
func (j *judged) kinds() (wrong []string) {
	for _, c := range j.table.columns {
		if turns := j.fold.kinds[c.number]; len(turns) > c.kinds {
			wrong = append(wrong, fmt.Sprintf("%s (%s) has values of the JSON types %s", c.name, c.kind.sql(j.table.number), strings.Join(turns, ", ")))
		}
	}
	return wrong
}

// keysChanged returns where the key columns changed although the table's keys did not.
func (j *judged) keysChanged() (wrong []string) {
	for _, stray := range j.fold.strays {
		if j.table.epochs > 0 { // no row may have been written under the new key
			break
		}
		wrong = append(wrong, "a copied row has another key than the stream: "+stray)
	}
	if turns := j.fold.keys; len(turns) > 1+j.table.epochs {
		wrong = append(wrong, fmt.Sprintf("the columns of the keys are %v in turn", turns))
	}
	if last := len(j.fold.keys) - 1; last >= 0 && j.table.epochs == 0 && !j.keyExcused() {
		want := slices.Sorted(slices.Values(j.table.style.columns))
		if !slices.Equal(j.fold.keys[last], want) {
			wrong = append(wrong, fmt.Sprintf("the columns of the keys are %v, want %v", j.fold.keys[last], want))
		}
	}
	return wrong
}
