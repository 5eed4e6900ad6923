package integration

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// TestLoginToKafka publishes and subscribes by each way into a real broker.
func TestLoginToKafka(t *testing.T) {
	dir := t.TempDir()
	kafka, secure, ca := startSecureKafka(t, dir)
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "message")
	r.broker = kafka
	r.Watch("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);", "mark.mark")
	r.Setup()

	password, wrong, token := filepath.Join(dir, "password"), filepath.Join(dir, "wrong"), filepath.Join(dir, "token")
	for file, text := range map[string]string{password: "pw\n", wrong: "other\n", token: unsignedToken("pgtee")} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	login := func(mechanism, user, file string) []string {
		flags := []string{"--kafka", secure.Address, "--kafka-tls", "--kafka-ca", ca.file, "--kafka-sasl", mechanism, "--kafka-password-file", file}
		if user != "" {
			flags = append(flags, "--kafka-user", user)
		}
		return flags
	}
	for _, flags := range [][]string{login("plain", "pgtee", password), login("scram-sha-256", "pgtee", password),
		login("scram-sha-512", "pgtee", password), login("oauthbearer", "", token)} {
		r.publisher = r.process("publish", append([]string{"publish", "--postgres", r.URL(), "--prefix", r.prefix, "--slot", r.slot,
			"--key", r.keyFile(), "--max-retained-wal", "8GB:warn"}, flags...)...)
		r.Drain()
		r.Stop(r.publisher)
	}
	r.expectRefusedLogin(login("scram-sha-256", "pgtee", wrong), wrong)
	for name, flags := range map[string][]string{
		"wrong password":    login("scram-sha-256", "pgtee", wrong),
		"an unknown CA":     {"--kafka", secure.Address, "--kafka-tls", "--kafka-sasl", "plain", "--kafka-user", "pgtee", "--kafka-password-file", password},
		"no password":       {"--kafka", secure.Address, "--kafka-tls", "--kafka-sasl", "plain", "--kafka-user", "pgtee"},
		"a password for no": {"--kafka", secure.Address, "--kafka-password-file", password},
	} {
		out, code := r.Pgtee(append([]string{"subscribe", "--prefix", r.prefix}, flags...)...)
		if code != 2 || !strings.Contains(out, "--kafka") || strings.Count(strings.TrimSpace(out), "\n") > 0 || strings.Contains(out, "other") {
			t.Errorf("%s: exit code %d, output %s", name, code, out)
		}
	}
}

// startSecureKafka starts a broker to which user pgtee logs in with password pw.
func startSecureKafka(t *testing.T, dir string) (*harness.Kafka, *harness.SecureListener, *authority) {
	t.Helper()
	ca := newAuthority(t, dir)
	broker := ca.sign("broker", "127.0.0.1")
	secure := &harness.SecureListener{Address: must(t, harness.FreeAddress), User: "pgtee", Password: "pw",
		Cert: oneLine(t, broker.certFile), Key: oneLine(t, broker.keyFile), CA: oneLine(t, ca.file)}
	kafka := must(t, func() (*harness.Kafka, error) { return world.StartSecureKafka(secure) })
	t.Cleanup(func() { kafka.Kill() })
	return kafka, secure, ca
}

// oneLine is a PEM file as a value of Java properties.
func oneLine(t *testing.T, file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", `\n`)
}

// unsignedToken is a JSON Web Token that Kafka takes where no validator is configured (RFC 7519, section 6).
func unsignedToken(subject string) string {
	now := time.Now().Unix()
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(fmt.Appendf(nil, `{"sub":%q,"iat":%d,"exp":%d}`, subject, now, now+3600)) + "."
}

// expectRefusedLogin runs a publisher whose password is wrong, next to a proxy: it is told why nothing is published, and nobody
// has to start anything once the password is right. Afterwards it is wrong again.
func (r *runner) expectRefusedLogin(flags []string, file string) {
	r.t.Helper()
	metrics := must(r.t, harness.FreeAddress)
	r.publisher = r.process("run", append([]string{"run", "--postgres", r.URL(), "--prefix", r.prefix, "--slot", r.slot, "--listen", must(r.t, harness.FreeAddress),
		"--key", r.keyFile(), "--max-retained-wal", "8GB:warn", "--metrics", metrics}, flags...)...)
	r.must(harness.Eventually(time.Minute, func(ctx context.Context) error {
		said := r.publisher.Log() + body(ctx, "http://"+metrics+"/readyz")
		for _, want := range []string{"publisher of " + r.database + ": ", "SASL_AUTHENTICATION_FAILED", "--kafka-password-file, which is read at each login"} {
			if !strings.Contains(said, want) {
				return fmt.Errorf("nothing is said of %q: %s", want, said)
			}
		}
		return nil
	}))
	r.must(os.WriteFile(file, []byte("pw"), 0o600))
	r.Drain()
	r.Stop(r.publisher)
	r.must(os.WriteFile(file, []byte("other"), 0o600))
}

// body is what a web address answers; empty if nothing.
func body(ctx context.Context, url string) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return string(text)
}
