package apply

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand"
	"testing"
)

// model is a table of two columns, by its key.
type model map[string]string

// history makes changes at random that a source could have made of a table, and applies them to the model.
type history struct {
	random *rand.Rand
	rows   model
}

type step struct {
	op       byte // c, u, d, m: a key that changes, with the value or without
	key, to  string
	value    string
	complete bool
}

func (h *history) next() (s step, ok bool) {
	key, to := fmt.Sprint(h.random.Intn(6)), fmt.Sprint(h.random.Intn(6))
	s = step{key: key, to: to, value: fmt.Sprint("v", h.random.Intn(1000)), complete: h.random.Intn(2) == 0}
	_, there := h.rows[key]
	_, taken := h.rows[to]
	switch n := h.random.Intn(4); {
	case n == 0 && !there:
		s.op = 'c'
		h.rows[key] = s.value
	case n == 1 && there:
		s.op = 'u'
		h.rows[key] = s.value
	case n == 2 && there:
		s.op = 'd'
		delete(h.rows, key)
	case n == 3 && there && !taken:
		s.op = 'm'
		if !s.complete {
			s.value = h.rows[key]
		}
		h.rows[to] = s.value
		delete(h.rows, key)
	default:
		return s, false
	}
	return s, true
}

func keySpan(b *batch, key string) span {
	start := len(b.arena)
	b.arena = append(binary.BigEndian.AppendUint32(b.arena, uint32(len(key))), key...)
	return span{uint32(start), uint32(len(b.arena))}
}

func textValue(b *batch, text string) value {
	start := len(b.arena)
	b.arena = append(b.arena, text...)
	return value{uint32(start), uint32(len(b.arena)), isText}
}

// put gives a step to the batch. It is false if the batch has to be written first.
func put(b *batch, t *table, s step) bool {
	part := b.of(t)
	part.keys = []int{0}
	key := keySpan(b, s.key)
	switch s.op {
	case 'd':
		return part.put(b, 'd', key, nil)
	case 'm':
		row := []value{textValue(b, s.to), {}}
		if !s.complete {
			return part.move(b, key, keySpan(b, s.to), row)
		}
		row[1] = textValue(b, s.value)
		return part.replace(b, key, keySpan(b, s.to), row)
	}
	return part.put(b, s.op, key, []value{textValue(b, s.key), textValue(b, s.value)})
}

// write does to the model of the target what target.rows does to the target, in its phases, and counts what does not fit.
func write(b *batch, target model) (conflicts int) {
	var g groups
	g.sort(b)
	text := func(v value) string { return string(b.arena[v.start:v.end]) }
	for p, list := range g.list {
		for _, one := range list {
			for _, i := range one.rows {
				row, values := one.part.rows[i], one.part.row(int(i))
				key := string(b.arena[row.origin.start+4 : row.origin.end])
				_, there := target[key]
				switch phase(p) {
				case deletes, ghosts:
					if there != (phase(p) == deletes) {
						conflicts++
					}
					delete(target, key)
				case updates:
					if !there {
						conflicts++
					}
					value := target[key]
					if values[1].kind == isText {
						value = text(values[1])
					}
					if one.moved {
						delete(target, key)
						key = text(values[0])
						if _, taken := target[key]; taken {
							conflicts++
						}
					}
					target[key] = value
				case inserts:
					key = text(values[0])
					if _, taken := target[key]; taken {
						conflicts++
					}
					target[key] = text(values[1])
				}
			}
		}
	}
	return conflicts
}

// The changes of a batch, taken together and written in phases, leave what they leave one after the other, whatever came
// before; and nothing that the source did is taken for a conflict, save that keys which go from row to row may meet.
func TestBatchesEqualHistories(t *testing.T) {
	met, flushed, steps := 0, 0, 0
	for seed := range int64(20_000) {
		h := history{rand.New(rand.NewSource(seed)), model{"0": "a", "1": "b", "2": "c"}}
		target := maps.Clone(h.rows)
		table := &table{columns: make([]column, 2), byName: map[string]int{}}
		b := newBatch()
		for range 3 + h.random.Intn(12) {
			before := maps.Clone(h.rows)
			s, ok := h.next()
			if !ok {
				continue
			}
			steps++
			if put(b, table, s) {
				continue
			}
			flushed++
			conflicts := write(b, target)
			met += conflicts
			if conflicts == 0 && !maps.Equal(target, before) {
				t.Fatalf("seed %d: the target is %v, want %v", seed, target, before)
			}
			target = before // if it met another, it is rolled back, and written change by change
			b.reset()
			if !put(b, table, s) {
				t.Fatalf("seed %d: %+v does not fit into an empty batch", seed, s)
			}
		}
		conflicts := write(b, target)
		met += conflicts
		if conflicts == 0 && !maps.Equal(target, h.rows) {
			t.Fatalf("seed %d: the target is %v, want %v", seed, target, h.rows)
		}
	}
	if met > steps/50 || flushed > steps/5 {
		t.Errorf("of %d changes %d met others and %d could not be taken together", steps, met, flushed)
	}
	t.Logf("%d changes, %d met others, %d were written apart", steps, met, flushed)
}

// Whether a row has come yet is not known while a snapshot is being loaded: an UPDATE of a column that none can set must find out by itself.
func TestFixedColumnWhileLoading(t *testing.T) {
	for _, identity := range []bool{false, true} {
		tbl := tableOf("id", "rev")
		tbl.loading, tbl.columns[1].identity, tbl.layout = true, identity, []int{0, 1}
		b := newBatch()
		part := b.of(tbl)
		part.keys = []int{0}
		if fits := part.put(b, 'u', keySpan(b, "1"), []value{{}, {kind: isText}}); fits == identity {
			t.Errorf("identity %v: fits %v", identity, fits)
		}
	}
}

// The snapshot leaves a row to the stream once a record has all that the source has: it is inserted, whatever other columns the target has.
func TestWholeRowWhileLoading(t *testing.T) {
	whole, part := []value{{kind: isText}, {kind: isText}, {}}, []value{{kind: isText}, {}, {}}
	for _, c := range []struct {
		name    string
		arbiter bool // the target can upsert
		rows    [][]value
		fits    bool
		want    fate
	}{
		{"whole", true, [][]value{whole}, true, upserted},
		{"not whole", true, [][]value{part}, true, corrected},
		{"whole in the end", true, [][]value{part, whole}, true, upserted},
		{"without a key", false, [][]value{whole}, false, 0},
		{"without a key, whole in the end", false, [][]value{part, whole}, false, corrected},
	} {
		tbl := tableOf("id", "v", "own")
		tbl.loading, tbl.layout, tbl.keys = true, []int{0, 1}, keyLayout{[]int{0}, c.arbiter}
		b := newBatch()
		part := b.of(tbl)
		part.keys = []int{0}
		fits := true
		for _, row := range c.rows {
			fits = part.put(b, 'u', keySpan(b, "1"), row)
		}
		if fits != c.fits || len(part.rows) > 0 && part.rows[0].fate != c.want {
			t.Errorf("%s: fits %v, rows %+v", c.name, fits, part.rows)
		}
	}
}
