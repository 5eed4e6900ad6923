package publisher

import (
	"bytes"
	"testing"
)

func TestTraceparent(t *testing.T) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for sql, want := range map[string]string{
		"update t set a = 1 /*action='buy',traceparent='" + trace + "',tracestate='x'*/":               trace,
		"/*traceparent='" + trace + "'*/ delete from t":                                                trace,
		"update t set a = 1 /*traceparent='" + trace + "*/":                                            "",
		"update t set a = 1 /*traceparent='01" + trace[2:] + "'*/":                                     "",
		"update t set a = 1 /*traceparent='00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01'*/": "",
		"update t set a = 1 /*traceparent='00-00000000000000000000000000000000-00f067aa0ba902b7-01'*/": "",
		"update t set a = 1 /*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01'*/": "",
		"update t set a = 'traceparent=''" + trace + "'''":                                             "",
		"/* a */ update t set a = traceparent='" + trace + "'":                                         "",
		"/*traceparent='":             "",
		"/*traceparent='00-4bf92f'*/": "",
		"/*traceparent='" + trace:     "",
		"update t set a = 1":          "",
		"":                            "",
	} {
		if got := string(traceparent([]byte(sql))); got != want {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
}

// FuzzTraceparent: whatever a client sends, what comes out is one, and stood in its SQL.
func FuzzTraceparent(f *testing.F) {
	f.Add([]byte("/*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'*/"))
	f.Add([]byte("/*traceparent='00-"))
	f.Fuzz(func(t *testing.T, sql []byte) {
		if got := traceparent(sql); got != nil && (len(got) != traceparentBytes || !bytes.Contains(sql, got)) {
			t.Fatalf("%q of %q", got, sql)
		}
	})
}
