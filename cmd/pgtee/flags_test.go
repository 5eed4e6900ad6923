package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/proxy"
)

func TestKeyFile(t *testing.T) {
	flags := keyFlags{filepath.Join(t.TempDir(), "key")}
	if _, err := flags.read(zap.NewNop()); err == nil {
		t.Error("a missing key can be read")
	}
	made, err := flags.readOrMake(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(flags.Key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	again, err := flags.readOrMake(zap.NewNop())
	if err != nil || len(made) != 1 || len(made[0]) != keyBytes || !bytes.Equal(made[0], again[0]) {
		t.Errorf("made %x, then read %x, error %v", made, again, err)
	}
}

// A group of the process may read its key; other groups and everybody may not.
func TestReadableByOthers(t *testing.T) {
	path := file(t, "key", "")
	for _, c := range []struct {
		mode        fs.FileMode
		own, others bool // the group of the file is one of the process
	}{
		{0o600, false, false}, {0o640, false, true}, {0o440, true, false}, {0o644, true, true},
	} {
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		var groups []int
		if c.own {
			groups = ownGroups()
		}
		if got := readableByOthers(info, groups); got != c.others {
			t.Errorf("mode %o, its group is ours: %v: readable by others: %v", c.mode, c.own, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"1kB": 1 << 10, "512MB": 512 << 20, "50GB": 50 << 30, "8388607TB": 8388607 << 40} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s = %d, error %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GB", "0GB", "-1GB", "1.5GB", "5", "5 GB", "8388608TB", "99999999999999999999kB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is accepted as %d", text, got)
		}
	}
}

func urls(t *testing.T, texts ...string) (f postgresFlags) {
	t.Helper()
	for _, text := range texts {
		ctx := &kong.DecodeContext{Scan: kong.Scan(text)}
		if err := f.Postgres.Decode(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestServers(t *testing.T) {
	for text, want := range map[string]string{
		"postgres://u@h:5433/x?sslmode=disable":                          "h:5433",
		"postgresql://[::1]/x?sslmode=allow":                             "[::1]:5432, [::1]:5432 TLS",
		"postgresql://h/x?sslmode=prefer":                                "h:5432 TLS or plain, h:5432",
		"postgresql://h/x?sslmode=require":                               "h:5432 TLS",
		"postgresql://h/x?sslmode=require&sslnegotiation=direct":         "h:5432 direct TLS",
		"postgres:///x?host=/run/postgresql":                             "/run/postgresql/.s.PGSQL.5432",
		"postgres://h,k:1/x?sslmode=disable":                             "h:5432, k:1",
		"postgres://h/x?sslmode=verify-full&sslrootcert=/does/not/exist": "error",
	} {
		servers, err := urls(t, text).servers()
		if got := listed(servers); (err != nil) != (want == "error") || err == nil && got != want {
			t.Errorf("%s: %s (%v), want %s", text, got, err, want)
		}
	}
}

func TestUnreadableServers(t *testing.T) {
	for text, want := range map[string]string{
		"postgres://u:pw@h/x?target_session_attrs=bogus": "--postgres postgres://u:xxxxx@h/x?target_session_attrs=bogus: unknown target_session_attrs value: bogus",
		"postgres://u:pw@h:70000/x":                      "--postgres postgres://u:xxxxx@h:70000/x: invalid port",
		"postgres://u@h/x?password=pw&sslmode=bogus":     "--postgres postgres://u@h/x?password=xxxxx&sslmode=bogus: failed to configure TLS (sslmode is invalid)",
		"postgres://u:pw@h/x?sslmode=bogus":              "--postgres postgres://u:xxxxx@h/x?sslmode=bogus: failed to configure TLS (sslmode is invalid)",
	} {
		if _, err := urls(t, text).servers(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func listed(servers []proxy.Server) string {
	var list []string
	for _, s := range servers {
		text := s.Address
		if s.Direct {
			text += " direct"
		}
		if s.TLS != nil {
			text += " TLS"
		}
		if s.Plain {
			text += " or plain"
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

func TestSources(t *testing.T) {
	one, err := urls(t, "postgres://u:p%20w@h/x?sslmode=disable").sources(nil, "slot", "prefix")
	if err != nil || len(one) != 1 || one[0] != (source{"postgres://u:p%20w@h/x?sslmode=disable", "x", "slot", "prefix"}) {
		t.Errorf("one database: %+v, error %v", one, err)
	}
	two, err := urls(t, "postgres://u@h:1/x", "postgres://u@k:2/x").sources([]string{"a", "B-c"}, "slot", "prefix")
	if err != nil || len(two) != 2 {
		t.Fatalf("two databases: %+v, error %v", two, err)
	}
	if want := (source{"postgres://u@h:1,k:2/B-c?target_session_attrs=read-write", "B-c", "slot_b_c", "prefix.B-c"}); two[1] != want {
		t.Errorf("second database: %+v, want %+v", two[1], want)
	}
	config, err := pgconn.ParseConfig(two[1].connString)
	if err != nil || config.Host != "h" || len(config.Fallbacks) == 0 {
		t.Errorf("the library reads host %v, error %v", config, err)
	}
}

func TestParseKeys(t *testing.T) {
	one, two := strings.Repeat("0a", keyBytes), strings.Repeat("0b", keyBytes)
	for text, want := range map[string]int{
		one: 1, one + "\n": 1, one + "\n" + two + "\n": 2, "": 0, one + "00": 0, one[1:]: 0, "x" + one[1:]: 0, one + "\n" + one: 0,
		one + "\n" + two + "\n" + two: 0,
	} {
		if keys, err := parseKeys([]byte(text)); len(keys) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d keys, %v", text, len(keys), err)
		}
	}
}
