package note

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"testing"
	"time"
)

func TestPayloadRoundTrip(t *testing.T) {
	v6 := samplePayload(FlagSQL)
	v6.Client = netip.MustParseAddrPort("[2001:db8::1]:65535")
	unix := samplePayload(FlagRow | FlagQuery)
	unix.Client = netip.AddrPort{}
	for name, payload := range map[string]*Payload{"IPv4": samplePayload(FlagSQL | FlagOutsideBlock), "IPv6": v6, "Unix socket": unix} {
		t.Run(name, func(t *testing.T) {
			text := newSigner(9, sampleKey).Append([]byte("x"), payload, []byte("select 1"))
			raw, err := base64.StdEncoding.DecodeString(string(text[1:]))
			if err != nil || text[0] != 'x' {
				t.Fatalf("%q: %v", text, err)
			}
			got, sql, err := ParsePayload(raw)
			if err != nil || got != *payload {
				t.Errorf("got %+v, %v\nwant %+v", got, err, *payload)
			}
			if wantSQL := payload.Flags&FlagSQL != 0; (string(sql) == "select 1") != wantSQL {
				t.Errorf("SQL %q", sql)
			}
		})
	}
}

// The layout is in the log of databases that are in use: a change of it needs a new version.
func TestPayloadLayout(t *testing.T) {
	const want = "AwYEAAAABwAAABcAAAABYvP5WgAAAAUAAAADAAAACQAGCiQYHkABAAAAAAAAAAAAAP//wAACB8PLAAAAAACrze8AAAASZ4G2N9j80sbapfQT8lPeyzcOx+Pi3ZXpvXNlbGVjdCAx"
	for version, older := range map[byte]string{
		1: "AQYEAAAABwAAABcAAAABYvP5WgAAAAUAAAADAAAACQAGCiQYHkABAAAAAAAAAAAAAP//wAACB8PLAAAAAACrze9N/DI/RURKZ/vRDCq64KQJc2VsZWN0IDE=",
		2: "AgYEAAAABwAAABcAAAABYvP5WgAAAAUAAAADAAAACQAGCiQYHkABAAAAAAAAAAAAAP//wAACB8PLAAAAAACrze8AyY0x4+Mp7gYXyHeTq/geuXNlbGVjdCAx",
	} {
		old := *samplePayload(FlagQuery | FlagSQL)
		old.version = version
		raw, _ := base64.StdEncoding.DecodeString(older)
		read, sql, err := ParsePayload(raw)
		note := &Note{Payload: read, User: []byte("bob"), PID: 4711, SQL: sql}
		if old.KeyID, old.MAC = 4, read.MAC; err != nil || read != old || !newSigner(4, sampleKey).Check(note) {
			t.Errorf("of version %d: %+v, %v", version, read, err)
		}
		if note.PID++; newSigner(4, sampleKey).Check(note) {
			t.Errorf("of version %d: another process is not noticed", version)
		}
	}
	got := signedText(newSigner(4, sampleKey), samplePayload(FlagQuery|FlagSQL), "bob", 4711, "select 1")
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Whatever is changed in a note, byte by byte, is noticed.
func TestSignerNoticesEveryByte(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(signedText(newSigner(4, sampleKey), samplePayload(FlagSQL), "bob", 4711, "select 1"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(raw []byte) bool {
		payload, sql, err := ParsePayload(raw)
		return err == nil && newSigner(4, sampleKey).Check(&Note{Payload: payload, SQL: sql})
	}
	if !check(raw) {
		t.Fatal("unchanged, and refused")
	}
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 0x40
		if check(changed) {
			t.Errorf("byte %d changed", i)
		}
	}
	if check(append(bytes.Clone(raw), ' ')) {
		t.Error("longer SQL is taken for the same")
	}
}

func TestSessionID(t *testing.T) {
	start := time.UnixMilli(1_700_000_000_123)
	first, second := NewSessionID(start, 1), NewSessionID(start, 2)
	later := NewSessionID(start.Add(time.Millisecond), 0)
	if !(first < second && second < later) || !first.Start().Equal(start) {
		t.Errorf("%s %s %s, start %s", first, second, later, first.Start())
	}
}

func FuzzParsePayload(f *testing.F) {
	raw, err := base64.StdEncoding.DecodeString(signedText(newSigner(4, sampleKey), samplePayload(FlagSQL), "bob", 1, "select 1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		payload, sql, err := ParsePayload(raw)
		if err != nil {
			return
		}
		// What was read writes the same bytes again, but for two forms of an address that says nothing.
		again := append(payload.appendSigned(nil), payload.MAC[:]...)
		if payload.Client.IsValid() && !bytes.Equal(again, raw[:len(again)]) {
			t.Fatalf("read %x, wrote %x", raw[:len(again)], again)
		}
		if payload.Flags&FlagSQL != 0 && !bytes.Equal(sql, raw[len(again):]) {
			t.Fatalf("SQL %q", sql)
		}
	})
}

func BenchmarkSignerAppend(b *testing.B) {
	signer, payload := newSigner(4, sampleKey), samplePayload(FlagQuery)
	sql := []byte("UPDATE pgbench_accounts SET abalance = abalance + 100 WHERE aid = 4711")
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = signer.Append(dst[:0], payload, sql)
	}
}

// signedText makes the payload of a note as a proxy does whose session has this user and server process.
func signedText(s *Signer, p *Payload, user string, pid int32, sql string) string {
	p.Process, p.UserTag = pid, UserTag([]byte(user))
	return string(s.Append(nil, p, []byte(sql)))
}

func samplePayload(flags Flags) *Payload {
	return &Payload{
		Flags: flags, Offset: 7, Length: 23, ProxyID: 1, Session: NewSessionID(time.UnixMilli(1_700_000_000_000), 5), Counter: 3, Statement: 9,
		Time: time.UnixMicro(1_700_000_000_000_001).UTC(), Client: netip.MustParseAddrPort("192.0.2.7:50123"), Fingerprint: 0xABCDEF,
	}
}

var sampleKey = []byte("0123456789abcdef0123456789abcdef")
