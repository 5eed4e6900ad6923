package subscriber

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	auditTwo = `{"v":1,"database":"shop","timeline":1,"xid":745,"end_lsn":"0/16B3748","commit_time":"2025-01-31T12:00:00.123456Z","via":"proxy","verified":true,
		"session":{"id":"0185","user":"alice","role":"alice","application":"webshop","client":"127.0.0.1:51234","pid":4711,"start":"2025-01-31T11:00:00.000000Z","proxy":1},
		"statements":[{"number":1,"command":"INSERT","fingerprint":"00000000000000aa","text":"INSERT INTO orders (customer_id)\n  VALUES ($1)","rows":1,"tables":["public.orders"]},
		              {"number":2,"command":"UPDATE","fingerprint":"00000000000000ab","text":null,"rows":12,"tables":["public.orders","stock.items"]}],
		"statements_omitted":0,"tables":[],"direct_rows":0}`
	auditDirect = `{"v":1,"xid":746,"commit_time":"2025-01-31T12:00:01Z","via":"direct","verified":false,"session":null,"statements":[],"statements_omitted":0,
		"tables":[{"table":"public.orders","inserted":3,"updated":0,"deleted":0,"truncated":0}],"direct_rows":3}`
	auditEvil = `{"v":1,"xid":747,"commit_time":"2025-01-31T12:00:02Z","via":"proxy","verified":false,"session":{"user":"mallory","application":"\u001b[2Jx","client":null},
		"statements":[{"number":1,"command":"DELETE","text":"DELETE FROM t WHERE name = '\u001b]0;title\u0007\u202eevil'","rows":0,"tables":[]}],"statements_omitted":7}`
	row = `{"before":null,"after":{"id":1,"note":"a"},"source":{"schema":"public","table":"orders","txId":745},"op":"c",
		"pgtee":{"session":{"user":"alice","application":"webshop","client":"127.0.0.1:51234"},"statement":{"number":1},"via":"proxy","verified":true}}`
	rowUpdated = `{"before":{"id":1,"note":"a","total":7},"after":{"id":1,"note":"=b","total":7},"source":{"schema":"public","table":"orders","txId":746},"op":"u",
		"pgtee":{"session":{"user":"alice","application":"=web","client":"127.0.0.1:51234"},"statement":{"command":"UPDATE","text":"UPDATE orders\nSET note = $1"},"via":"proxy","verified":true}}`
	rowDeleted = `{"before":{"id":1},"after":null,"source":{"schema":"public","table":"orders"},"op":"d","pgtee":{"session":null,"statement":null,"via":"direct","verified":false}}`
)

func TestPrint(t *testing.T) {
	at := time.Date(2025, 1, 31, 12, 0, 3, 0, time.UTC)
	audit := []Event{{Topic: "shop.audit", Value: []byte(auditTwo), Time: at, ID: "7300/pgtee/0/16B3748/audit", Key: []byte("0185")},
		{Topic: "shop.audit", Offset: 1, Value: []byte(auditDirect), Time: at}, {Topic: "shop.audit", Offset: 2, Value: []byte(auditEvil), Time: at}}
	rows := []Event{{Topic: "shop.public.orders", Value: []byte(row), Key: []byte(`{"id":1}`), Time: at}, {Topic: "shop.public.orders", Value: []byte(rowDeleted), Time: at},
		{Topic: "shop.public.orders", Key: []byte(`{"id":1}`), Time: at}}
	updated := Event{Topic: "shop.public.orders", Value: []byte(rowUpdated), Key: []byte(`{"id":1}`), Time: at}
	local := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = local })
	for name, test := range map[string]struct {
		printer Printer
		events  []Event
	}{
		"audit":       {Printer{Audit: true}, audit},
		"audit-color": {Printer{Audit: true, Color: true}, audit},
		"rows":        {Printer{}, rows},
		"json":        {Printer{JSON: true}, append(rows, audit[0])},
		"audit-csv":   {Printer{CSV: true, Header: true, Audit: true}, audit},
		"rows-csv":    {Printer{CSV: true, Header: true}, append(rows, updated)},
		"updated":     {Printer{Color: true}, []Event{updated}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			test.printer.Out = &out
			for _, e := range test.events {
				if err := test.printer.Print(e); err != nil {
					t.Fatal(err)
				}
			}
			golden(t, name, out.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A cell has the values of its row: only what controls a terminal, or the direction of a text, is replaced.
func TestCells(t *testing.T) {
	for cell, want := range map[string]string{
		"10\u00a0kg": "10\u00a0kg", "東京\u3000都": "東京\u3000都", "\U0001f468\u200d\U0001f469": "\U0001f468\u200d\U0001f469", "a\u00adb": "a\u00adb", "\uf7c3": "\uf7c3", "a\nb": "a\nb",
		"\x1b[1m": "·[1m", "\u009b1m": "·1m", "a\u202eb\u2066c": "a·b·c", "a\rb": "a·b", "=a": "'=a",
	} {
		if got := harmless(cell); got != want {
			t.Errorf("%q: %q, want %q", cell, got, want)
		}
	}
}

func TestParseRefusesWhatItCannotRead(t *testing.T) {
	for _, text := range []string{"", "null]", `{"v":2}`, `{"v":"x"}`, `[]`} {
		if _, err := ParseAudit(Event{Topic: "a", Value: []byte(text)}); err == nil {
			t.Errorf("audit record %q is accepted", text)
		}
	}
}

// FuzzPrint: whatever a topic holds, printing neither panics nor lets a control character through.
func FuzzPrint(f *testing.F) {
	for _, text := range []string{auditTwo, auditDirect, auditEvil, row, rowUpdated, rowDeleted, "null", "[]", ""} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		for _, printer := range []Printer{{Audit: true}, {}, {JSON: true}, {CSV: true}, {CSV: true, Audit: true}} {
			var out strings.Builder
			printer.Out = &out
			_ = printer.Print(Event{Topic: "t", Value: value})
			for _, r := range out.String() {
				if r != '\n' && (r < ' ' || !printer.JSON && !printer.CSV && !unicode.IsPrint(r)) {
					t.Fatalf("control character %U in %q", r, out.String())
				}
			}
		}
	})
}
