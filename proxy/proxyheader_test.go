package proxy

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestProxyHeader(t *testing.T) {
	v2 := func(head string, body string) string { return headerSignature + head + body }
	for sent, want := range map[string]string{
		"PROXY TCP4 192.0.2.1 192.0.2.2 56324 5432\r\n":    "192.0.2.1:56324",
		"PROXY TCP6 2001:db8::1 2001:db8::2 1 5432\r\n":    "[2001:db8::1]:1",
		"PROXY UNKNOWN\r\n":                                "invalid AddrPort",
		"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n":            "invalid AddrPort",
		"PROXY TCP4 192.0.2.1 192.0.2.2 66324 5432\r\n":    "error",
		"PROXY TCP4 example.org 192.0.2.2 56324 5432\r\n":  "error",
		"PROXY TCP4 192.0.2.1\r\n":                         "error",
		"PROXY " + strings.Repeat("x", 200) + "\r\n":       "error",
		"\x00\x00\x00\x08\x04\xd2\x16\x2f\x00\x00\x00\x00": "error",
		"": "error",
		v2("\x21\x11\x00\x0c", "\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x15\x38"):                              "192.0.2.1:56324",
		v2("\x21\x11\x00\x10", "\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x15\x38\x04\x00\x01x"):                 "192.0.2.1:56324",
		v2("\x21\x21\x00\x24", strings.Repeat("\x00", 15)+"\x01"+strings.Repeat("\x00", 16)+"\x00\x07\x00\x08"): "[::1]:7",
		v2("\x20\x00\x00\x00", ""):                 "invalid AddrPort", // LOCAL
		v2("\x21\x31\x00\x00", ""):                 "invalid AddrPort", // a Unix socket
		v2("\x21\x11\x00\x04", "\xc0\x00\x02\x01"): "error",
		v2("\x31\x11\x00\x00", ""):                 "error",
		v2("\x21\x11\xff\xff", ""):                 "error",
		v2("\x21\x11\x00\x0c", "\xc0"):             "error",
	} {
		rest := strings.NewReader(sent + "next")
		got, err := readProxyHeader(rest)
		if text := got.String(); (err != nil) != (want == "error") || err == nil && text != want {
			t.Errorf("%q: %s (%v), want %s", sent, text, err, want)
		}
		if left, _ := io.ReadAll(rest); err == nil && string(left) != "next" {
			t.Errorf("%q: %q is left", sent, left)
		}
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 56324 5432\r\n"))
	f.Add([]byte(headerSignature + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x15\x38"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		rest := bytes.NewReader(sent)
		if _, err := readProxyHeader(rest); err == nil && len(sent)-rest.Len() > maxHeaderBytes+len(headerSignature)+4 {
			t.Fatalf("read %d bytes", len(sent)-rest.Len())
		}
	})
}
