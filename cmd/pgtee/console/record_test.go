package console

import (
	"bytes"
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestDeepRecord: a small record that would become large when it is indented is shown as it is.
func TestDeepRecord(t *testing.T) {
	const depth = 2000
	deep := []byte(strings.Repeat("[", depth) + "1" + strings.Repeat(",1", 50_000) + strings.Repeat("]", depth)) // indented 200 MB
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	page := recordOf(&kgo.Record{Key: deep, Value: deep})
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("a record of %d bytes takes %d bytes of memory", len(deep), used)
	}
	if page.Value != string(deep) || page.Key != string(deep) || page.Cut {
		t.Errorf("the page shows %d bytes of the value and %d of the key, want %d", len(page.Value), len(page.Key), len(deep))
	}
}

// TestIndentedBytes: the length is known before JSON is indented.
func TestIndentedBytes(t *testing.T) {
	for _, text := range []string{`{}`, `[1,[2,{"a":null}],"x,[{\\\"}]:"]`, `{"a":{"b":[1,2,3],"c":{"d":"e"}},"f":[[],{}]}`, `[` + strings.Repeat(`[1,`, 50) + `2` + strings.Repeat(`]`, 51)} {
		var indented bytes.Buffer
		if err := json.Indent(&indented, []byte(text), "", "  "); err != nil {
			t.Fatal(err)
		}
		if most, size := indentedBytes([]byte(text)), indented.Len(); most < size || most > size+40 {
			t.Errorf("%s has %d bytes, expected were at most %d", text, size, most)
		}
	}
	if text, _ := pretty([]byte(`{"a":1}`)); text != "{\n  \"a\": 1\n}" {
		t.Errorf("indented: %s", text)
	}
}
