package avro

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
)

// row is the schema of a key or row with one column for each name.
func row(name string, columns ...string) *record.Schema {
	s := &record.Schema{Type: record.Struct, Name: name}
	for _, column := range columns {
		s.Fields = append(s.Fields, record.Field{Name: column, Schema: &record.Schema{Type: record.Int32, Optional: true}})
	}
	return s
}

// payload is a row of nulls.
func payload(s *record.Schema) []byte {
	var fields []string
	for _, f := range s.Fields {
		fields = append(fields, fmt.Sprintf("%q:null", f.Name))
	}
	return []byte("{" + strings.Join(fields, ",") + "}")
}

func newFake(t *testing.T) *srfake.Registry {
	t.Helper()
	fake := srfake.New()
	t.Cleanup(fake.Close)
	return fake
}

func TestSubjects(t *testing.T) {
	for name, want := range map[string]string{
		"topic":        "p.s.t-key p.s.t-value",
		"record":       "p.s.t_1.Key p.s.t_1.Value",
		"topic-record": "p.s.t-p.s.t_1.Key p.s.t-p.s.t_1.Value",
	} {
		fake := newFake(t)
		subjects, err := ParseSubjectNames(name)
		if err != nil {
			t.Fatal(err)
		}
		framing := NewFraming(openRegistry(t, fake, RegistryConfig{}), subjects, Underscore)
		for part, s := range map[record.Part]*record.Schema{record.KeyPart: row("p.s.t-1.Key", "id"), record.ValuePart: row("p.s.t-1.Value", "id")} {
			if _, err := framing.Append(t.Context(), nil, part, "p.s.t", s, payload(s)); err != nil {
				t.Fatal(err)
			}
		}
		for subject := range strings.FieldsSeq(want) {
			if !fake.SubjectExists(subject) {
				t.Errorf("strategy %s: no subject %s", name, subject)
			}
		}
	}
}

func TestSubjectsThatCannotBe(t *testing.T) {
	framing := NewFraming(openRegistry(t, newFake(t), RegistryConfig{}), RecordName, Underscore)
	first, second, anonymous := row("p.t-1.Value"), row("p.t_1.Value"), row("")
	if _, err := framing.Append(t.Context(), nil, record.ValuePart, "a", first, payload(first)); err != nil {
		t.Fatal(err)
	}
	if _, err := framing.Append(t.Context(), nil, record.ValuePart, "b", second, payload(second)); err == nil || !strings.Contains(err.Error(), "would share the subject p.t_1.Value") {
		t.Errorf("two tables in one subject: %v", err)
	}
	if _, err := framing.Append(t.Context(), nil, record.ValuePart, "c", anonymous, payload(anonymous)); err == nil || !strings.Contains(err.Error(), "not a named record") {
		t.Errorf("a subject without a name: %v", err)
	}
	if _, err := framing.Append(t.Context(), nil, record.ValuePart, "d", nil, []byte("{}")); err == nil {
		t.Error("a payload without a schema is framed")
	}
}

// The registry is asked once for each schema of a subject, though its pointer changes and though the table grows.
func TestRegistryIsAskedOnce(t *testing.T) {
	fake := newFake(t)
	requests := 0
	fake.Intercept(func(http.ResponseWriter, *http.Request) bool { requests++; return false })
	framing := NewFraming(openRegistry(t, fake, RegistryConfig{}), TopicName, Underscore)
	var ids []uint32
	for _, s := range []*record.Schema{row("p.t.Value", "a"), row("p.t.Value", "a"), row("p.t.Value", "a", "b"), row("p.t.Value", "a")} {
		for range 3 {
			framed, err := framing.Append(t.Context(), nil, record.ValuePart, "t", s, payload(s))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, binary.BigEndian.Uint32(framed[1:]))
		}
	}
	if got := fmt.Sprint(ids); requests != 2 || got != "[1 1 1 1 1 1 2 2 2 1 1 1]" {
		t.Errorf("%d requests, ids %s", requests, got)
	}
}

func TestLookUp(t *testing.T) {
	fake := newFake(t)
	s := row("p.t.Value", "a")
	looking := NewFraming(openRegistry(t, fake, RegistryConfig{LookUp: true}), TopicName, Underscore)
	_, err := looking.Append(t.Context(), nil, record.ValuePart, "t", s, payload(s))
	expectHalt(t, err, ErrSchemaMissing, "subject t-value", "topic t", "without --no-auto-register")
	if fake.SubjectExists("t-value") {
		t.Error("the schema is registered all the same")
	}
	text, err := schemaText(s, Underscore)
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := fake.RegisterSchema("t-value", sr.Schema{Schema: string(text)})
	if err != nil {
		t.Fatal(err)
	}
	framed, err := looking.Append(t.Context(), nil, record.ValuePart, "t", s, payload(s))
	if err != nil || int(binary.BigEndian.Uint32(framed[1:])) != id {
		t.Errorf("%x, error %v, want id %d", framed, err, id)
	}
}

func expectHalt(t *testing.T, err, reason error, words ...string) {
	t.Helper()
	var halt *halt.Halt
	if !errors.As(err, &halt) || !errors.Is(err, reason) {
		t.Errorf("%v is not a halt by %v", err, reason)
		return
	}
	for _, word := range append(words, "start pgtee") {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in: %v", word, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than a line: %v", err)
	}
}

// answer is a registry that says the same to everybody.
func answer(t *testing.T, status int, body string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return server
}

func ask(t *testing.T, cfg RegistryConfig) error {
	t.Helper()
	r, err := NewRegistry(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.id(t.Context(), version{"t-value", `"int"`}, "t")
	return err
}

// A stop of the publisher does not wait for a registry that does not answer.
func TestRegistryCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server would not notice that the client has gone
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	r, err := NewRegistry(RegistryConfig{URLs: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.id(ctx, version{"t-value", `"int"`}, "t")
	var outage *Outage
	if !errors.As(err, &outage) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want an outage by a cancelled context", err)
	}
}

func TestRefusals(t *testing.T) {
	long := strings.Repeat("because\n ", 1000)
	for _, c := range []struct {
		status int
		body   string
		reason error
		words  []string
	}{
		{409, `{"error_code":409,"message":"Schema being registered is\nincompatible"}`, ErrIncompatible, []string{"subject t-value, topic t", "is incompatible", "nothing of the transaction was published", "compatibility of subject t-value"}},
		{409, fmt.Sprintf(`{"error_code":409,"message":%q}`, long), ErrIncompatible, []string{"because because", "…"}},
		{422, `{"error_code":42201,"message":"invalid"}`, ErrIncompatible, []string{"42201"}},
		{401, `{"error_code":401,"message":"Unauthorized"}`, ErrRegistryRefuses, []string{"--schema-registry-auth-file"}},
		{403, ``, ErrRegistryRefuses, []string{"--schema-registry-auth-file"}},
		{404, `<html>secret</html>`, ErrRegistryRefuses, []string{"/apis/ccompat/v7"}},
	} {
		err := ask(t, RegistryConfig{URLs: []string{answer(t, c.status, c.body).URL}})
		expectHalt(t, err, c.reason, c.words...)
		if len(err.Error()) > 1000 || strings.Contains(err.Error(), "secret") {
			t.Errorf("%d: %v", c.status, err)
		}
	}
}

func TestOutages(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	endless := strings.Repeat(" ", maxAnswerBytes+1) + `{"id":1}`
	for name, url := range map[string]string{
		"nobody there": closed.URL,
		"500":          answer(t, 500, `{"error_code":50001,"message":"store"}`).URL,
		"503":          answer(t, 503, "").URL,
		"429":          answer(t, 429, "").URL,
		"no JSON":      answer(t, 200, "hello").URL,
		"too long":     answer(t, 200, endless).URL,
	} {
		err := ask(t, RegistryConfig{URLs: []string{url}})
		var outage interface{ Temporary() bool }
		if !errors.As(err, &outage) || !outage.Temporary() {
			t.Errorf("%s: %v is not temporary", name, err)
		}
		if err := ask(t, RegistryConfig{URLs: []string{url, answer(t, 200, `{"id":7}`).URL}}); err != nil && name != "no JSON" && name != "too long" {
			t.Errorf("%s: the second URL is not asked: %v", name, err)
		}
	}
	for _, id := range []string{"0", "-1", "2147483648"} {
		if err := ask(t, RegistryConfig{URLs: []string{answer(t, 200, `{"id":`+id+`}`).URL}}); err == nil {
			t.Errorf("id %s is accepted", id)
		}
	}
}

func TestCredentialsAndTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"id":1}`)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	server.StartTLS()
	t.Cleanup(server.Close)
	authorities := x509.NewCertPool()
	authorities.AddCert(server.Certificate())
	authorize := func(r *http.Request) error { r.SetBasicAuth("me", "hunter2"); return nil }
	trusting := &tls.Config{RootCAs: authorities}
	if err := ask(t, RegistryConfig{URLs: []string{server.URL}, TLS: trusting, Authorize: authorize}); err != nil {
		t.Error(err)
	}
	expectHalt(t, ask(t, RegistryConfig{URLs: []string{server.URL}, TLS: trusting}), ErrRegistryRefuses, "credentials")
	for _, cfg := range []RegistryConfig{
		{URLs: []string{server.URL}, Authorize: authorize}, // nobody knows its authority
		{URLs: []string{strings.Replace(server.URL, "127.0.0.1", "127.0.0.2", 1)}, TLS: trusting, Authorize: authorize},
	} {
		if err := ask(t, cfg); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a server that is not trusted: %v", err)
		}
	}
}

func TestPing(t *testing.T) {
	for body, well := range map[string]bool{`["AVRO"]`: true, `hello`: false} {
		r, err := NewRegistry(RegistryConfig{URLs: []string{answer(t, 200, body).URL}})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Ping(context.Background()); (err == nil) != well {
			t.Errorf("answer %s: %v", body, err)
		}
	}
}

// A schema that was dropped is not kept in memory by what is remembered of it, and its version is found again.
func TestSchemasAreNotKept(t *testing.T) {
	framing := NewFraming(openRegistry(t, newFake(t), RegistryConfig{}), TopicName, Underscore)
	var collected atomic.Int32
	for range 50 {
		s := row("p.t.Value", "a")
		runtime.AddCleanup(s, func(struct{}) { collected.Add(1) }, struct{}{})
		if _, err := framing.Append(t.Context(), nil, record.ValuePart, "t", s, payload(s)); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < 100 && collected.Load() < 49; i++ {
		runtime.GC()
		runtime.Gosched()
	}
	if n := collected.Load(); n < 49 || len(framing.versions) != 1 {
		t.Errorf("%d of 50 schemas are gone; %d versions", n, len(framing.versions))
	}
}
