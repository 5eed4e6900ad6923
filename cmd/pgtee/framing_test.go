package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher/record"
)

func TestFramings(t *testing.T) {
	schema := &record.Schema{Type: record.Int32}
	for _, c := range []struct{ value, key, wantKey, wantValue string }{
		{"json", "same", `1`, `1`},
		{"json-schema", "same", `{"schema":{"type":"int32","optional":false},"payload":1}`, `{"schema":{"type":"int32","optional":false},"payload":1}`},
		{"json-schema", "json", `1`, `{"schema":{"type":"int32","optional":false},"payload":1}`},
		{"json", "json-schema", `{"schema":{"type":"int32","optional":false},"payload":1}`, `1`},
	} {
		framing, err := framingFlags{Format: c.value, KeyFormat: c.key}.framing(zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if framing == nil {
			framing = framings{}
		}
		key, err1 := framing.Append(t.Context(), nil, record.KeyPart, "t", schema, []byte("1"))
		value, err2 := framing.Append(t.Context(), nil, record.ValuePart, "t", schema, []byte("1"))
		if err1 != nil || err2 != nil || string(key) != c.wantKey || string(value) != c.wantValue {
			t.Errorf("%s, keys %s: %s and %s, errors %v and %v", c.value, c.key, key, value, err1, err2)
		}
	}
}

func TestCheckFraming(t *testing.T) {
	full := framingFlags{Format: "avro", KeyFormat: "same", SubjectNameStrategy: "topic", SchemaNameAdjustmentMode: "avro",
		registryFlags: registryFlags{SchemaRegistry: []string{"https://h:1"}, AutoRegister: true}}
	if err := full.checkFraming(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*framingFlags){
		"needs a schema registry":     func(f *framingFlags) { f.SchemaRegistry = nil },
		"nothing is published as":     func(f *framingFlags) { f.Format = "json" },
		"do not belong in the URL":    func(f *framingFlags) { f.SchemaRegistry = []string{"http://u:hunter2@h"} },
		"want http://HOST":            func(f *framingFlags) { f.SchemaRegistry = []string{"h:1"} },
		"schema-registry-ca":          func(f *framingFlags) { f.SchemaRegistryCA = "/missing" },
		"schema-registry-key belong":  func(f *framingFlags) { f.SchemaRegistryCert = "/missing" },
		"--schema-registry-auth-file": func(f *framingFlags) { f.SchemaRegistryAuthFile = "/missing" },
	} {
		flags := full
		change(&flags)
		err := flags.checkFraming()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestRegistryCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth")
	flags := registryFlags{SchemaRegistryAuthFile: file}
	for line, want := range map[string]string{
		"":                "",
		"me:pass:word\n":  "Basic bWU6cGFzczp3b3Jk",
		"Bearer  tok.en ": "Bearer tok.en",
		"hunter2":         "error",
		"a:b\nhunter2:d":  "error",
	} {
		if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Header: http.Header{}}
		err := flags.authorize(r)
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the secret stands in the error: %v", err)
		}
		if got := r.Header.Get("Authorization"); (err != nil) != (want == "error") || err == nil && got != want {
			t.Errorf("%q: %q, error %v, want %q", line, got, err, want)
		}
	}
	t.Setenv("PGTEE_SCHEMA_REGISTRY_AUTH", "u:p")
	if line, err := (registryFlags{}).secret(); err != nil || line != "u:p" {
		t.Errorf("%q, error %v", line, err)
	}
}
