package proxy

import (
	"bytes"
	"testing"
)

func TestStartupParameters(t *testing.T) {
	for packet, want := range map[string]startup{
		"user\x00ann\x00\x00": {user: "ann", database: "ann"},
		"user\x00ann\x00database\x00shop\x00unknown\x00x\x00\x00": {user: "ann", database: "shop"},
		"user\x00ann\x00replication\x00database\x00\x00":          {user: "ann", database: "ann", replication: true},
		"user\x00ann\x00replication\x00TRUE\x00\x00":              {user: "ann", database: "ann", replication: true},
		"user\x00ann\x00replication\x00off\x00\x00":               {user: "ann", database: "ann"},
		"user\x00ann\x00replication\x00fal\x00\x00":               {user: "ann", database: "ann"},
	} {
		var got startup
		if err := got.read(append(make([]byte, 8), packet...)); err != nil {
			t.Errorf("%q: %v", packet, err)
		}
		if got.user != want.user || got.database != want.database || got.replication != want.replication {
			t.Errorf("%q: user %q database %q replication %t", packet, got.user, got.database, got.replication)
		}
	}
	var got startup
	if err := got.read([]byte("12345678user\x00ann")); err == nil {
		t.Error("a cut value is accepted")
	}
}

func FuzzStartup(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x12\x00\x03\x00\x00user\x00ann\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x08\x04\xd2\x16\x2f"))
	f.Add([]byte("\x16\x03\x01\x02\x00"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		packet, err := readPacket(bytes.NewReader(sent))
		if err != nil {
			return
		}
		if !bytes.HasPrefix(sent, packet) || len(packet) > maxStartupBytes {
			t.Fatalf("read %d bytes of %d, not as they were sent", len(packet), len(sent))
		}
		new(startup).read(packet)
	})
}
