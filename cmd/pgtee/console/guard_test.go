package console

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

const (
	readerSecret = "reader-secret-0123456789"
	adminSecret  = "admin-secret-0123456789"
)

func logins(t *testing.T) []Login {
	t.Helper()
	path := filepath.Join(t.TempDir(), "logins")
	if err := os.WriteFile(path, []byte("# people\nrae reader "+readerSecret+"\nada admin "+adminSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := ReadLogins(path)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestLoginsFile(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "no line",
		"ann reader":                "want NAME ROLE SECRET",
		"ann root 0123456789abcdef": "the role is reader or admin",
		"ann reader short":          "fewer than 16",
		"ann reader sha256:12":      "64 hex digits",
		"Ann Lee root certificate":  "the role is reader or admin",
		"Ann Lee reader cert":       "want NAME ROLE SECRET",
	} {
		path := filepath.Join(t.TempDir(), "logins")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadLogins(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestRefused: no token, a foreign Host, a foreign Origin, another site's fetch, a role that may not.
func TestRefused(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Logins = logins(t); c.Sessions = noSessions{} })
	bearer := func(secret string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret) }
	}
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	post := func(r *http.Request) { r.Method = "POST" }
	all := func(list ...func(*http.Request)) []func(*http.Request) { return list }
	for name, test := range map[string]struct {
		path   string
		change []func(*http.Request)
		want   int
	}{
		"no token":                    {"/live", nil, http.StatusUnauthorized},
		"a browser without a token":   {"/live", all(set("Accept", "text/html")), http.StatusSeeOther},
		"a wrong token":               {"/live", all(bearer("reader-secret-012345678X")), http.StatusUnauthorized},
		"a reader":                    {"/configuration", all(bearer(readerSecret)), http.StatusOK},
		"a forged cookie":             {"/live", all(set("Cookie", cookieName+"=YWRhCjIKOTk5OTk5OTk5OQpub3BlbmNub3BlbmNub3BlbmNub3BlbmNub3Bl")), http.StatusUnauthorized},
		"a foreign host":              {"/configuration", all(bearer(readerSecret), host("evil.example")), http.StatusMisdirectedRequest},
		"a foreign host, no login":    {"/assets/console.css", all(host("evil.example:80")), http.StatusMisdirectedRequest},
		"localhost":                   {"/configuration", all(bearer(readerSecret), host("localhost:1")), http.StatusOK},
		"IPv6":                        {"/configuration", all(bearer(readerSecret), host("[::1]:80")), http.StatusOK},
		"a foreign origin":            {"/configuration", all(bearer(readerSecret), set("Origin", "http://evil.example")), http.StatusForbidden},
		"the null origin":             {"/configuration", all(bearer(readerSecret), set("Origin", "null")), http.StatusForbidden},
		"another site's fetch":        {"/configuration", all(bearer(readerSecret), set("Sec-Fetch-Site", "cross-site"), set("Sec-Fetch-Mode", "no-cors")), http.StatusForbidden},
		"another site's frame":        {"/configuration", all(bearer(readerSecret), set("Sec-Fetch-Site", "cross-site"), set("Sec-Fetch-Mode", "navigate"), set("Sec-Fetch-Dest", "iframe")), http.StatusForbidden},
		"a link on another site":      {"/configuration", all(bearer(readerSecret), set("Sec-Fetch-Site", "cross-site"), set("Sec-Fetch-Mode", "navigate"), set("Sec-Fetch-Dest", "document")), http.StatusOK},
		"a reader ends a session":     {"/sessions/terminate?id=7", all(bearer(readerSecret), post), http.StatusForbidden},
		"another site ends a session": {"/sessions/terminate?id=7", all(bearer(adminSecret), post, set("Sec-Fetch-Site", "cross-site")), http.StatusForbidden},
		"an admin, but by GET":        {"/sessions/terminate?id=7", all(bearer(adminSecret)), http.StatusMethodNotAllowed},
		"the live stream":             {"/live/events", nil, http.StatusUnauthorized},
		"the charts":                  {"/streams/series", nil, http.StatusUnauthorized},
	} {
		status, body, header := f.get(test.path, test.change...)
		if status != test.want {
			t.Errorf("%s: status %d, want %d: %s", name, status, test.want, body)
		}
		if csp := header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", name, csp)
		}
	}
}

// TestLogin: the form gives a cookie that opens the pages; a wrong secret does not.
func TestLogin(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Logins = logins(t); c.Sessions = noSessions{} })
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.PostForm(f.server.URL+"/login", url.Values{"name": {"rae"}, "secret": {adminSecret}, "to": {"/streams"}})
	if err != nil || answer.StatusCode != http.StatusUnauthorized || len(answer.Cookies()) != 0 {
		t.Fatalf("another's secret: %v, %v", answer, err)
	}
	answer.Body.Close()
	answer, err = client.PostForm(f.server.URL+"/login", url.Values{"name": {"ada"}, "secret": {adminSecret}, "to": {"//evil.example/"}})
	if err != nil || answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/" {
		t.Fatalf("the login leads to %q: %v", answer.Header.Get("Location"), err)
	}
	answer.Body.Close()
	cookie := answer.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Secure {
		t.Errorf("the cookie is %v", cookie)
	}
	with := func(r *http.Request) { r.AddCookie(cookie) }
	if status, _, _ := f.get("/configuration", with); status != http.StatusOK {
		t.Errorf("with the cookie: status %d", status)
	}
	if status, _, _ := f.get("/sessions/terminate", with, func(r *http.Request) {
		r.Method, r.URL.RawQuery = "POST", ""
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}); status != http.StatusNotFound {
		t.Errorf("an admin ends a session that is not there: status %d", status)
	}
	if who := f.guard.holder(cookie.Value, time.Now().Add(cookieLasts+time.Minute)); who.Role != 0 {
		t.Error("a cookie that is too old is taken")
	}
}

// logIn logs ada in from a page with this scheme, and returns her cookie.
func (f *fixture) logIn(scheme string) *http.Cookie {
	f.Helper()
	body := strings.NewReader(url.Values{"name": {"ada"}, "secret": {adminSecret}}.Encode())
	_, _, header := f.get("/login", func(r *http.Request) {
		r.Method, r.Body = "POST", io.NopCloser(body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", scheme+"://"+r.URL.Host)
	})
	cookies := (&http.Response{Header: header}).Cookies()
	if len(cookies) != 1 {
		f.Fatalf("the login gives %v", cookies)
	}
	return cookies[0]
}

// TestLogout: a cookie is worthless after its user has logged out, for pages and for a live stream that is open.
func TestLogout(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Logins = logins(t) })
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 1)
	cookie, other := f.logIn("http"), f.logIn("http")
	with := func(c *http.Cookie) func(*http.Request) { return func(r *http.Request) { r.AddCookie(c) } }
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", f.server.URL+"/live/events?after=0:0", nil)
	r.AddCookie(cookie)
	live, err := http.DefaultClient.Do(r)
	if err != nil || live.StatusCode != http.StatusOK {
		t.Fatalf("the live stream: %v, %v", live, err)
	}
	defer live.Body.Close()
	status, _, header := f.get("/logout", with(cookie), func(r *http.Request) { r.Method = "POST" })
	if status != http.StatusSeeOther || !strings.Contains(header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("logging out: status %d, %v", status, header)
	}
	f.write(ann, "INSERT", "too late", "public.orders", `{"id":1}`, "null", "{}")
	if rest, err := io.ReadAll(live.Body); err != nil || strings.Contains(string(rest), "too late") {
		t.Errorf("the live stream goes on: %v, %s", err, rest)
	}
	if status, _, _ := f.get("/configuration", with(cookie)); status != http.StatusUnauthorized {
		t.Errorf("after logging out: status %d", status)
	}
	if status, _, _ := f.get("/configuration", with(other)); status != http.StatusOK {
		t.Errorf("another browser of the user: status %d", status)
	}
}

// TestSecureCookie: behind a proxy with TLS, too, the cookie is sent over TLS only.
func TestSecureCookie(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Logins = logins(t) })
	if f.logIn("http").Secure || !f.logIn("https").Secure {
		t.Error("the cookie does not follow the scheme")
	}
}

// TestTickets: the logins of a user are bounded, and end by time.
func TestTickets(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Logins = logins(t) })
	now := time.Now()
	rae := f.guard.admit(person{Name: "rae", Role: reader}, now)
	first := f.guard.admit(person{Name: "ada", Role: Admin}, now)
	for i := range maxTickets {
		f.guard.admit(person{Name: "ada", Role: Admin}, now.Add(time.Duration(i+1)*time.Second))
	}
	if len(f.guard.tickets) != maxTickets+1 || f.guard.holder(first, now).Role != 0 || f.guard.holder(rae, now).Role != reader {
		t.Errorf("%d logins are kept", len(f.guard.tickets))
	}
	f.guard.admit(person{Name: "rae", Role: reader}, now.Add(2*cookieLasts))
	if len(f.guard.tickets) != 1 {
		t.Errorf("%d logins are kept after their time", len(f.guard.tickets))
	}
}

// TestWrongSecrets: whoever tries secrets waits longer each time, and is in the log, with the form and with a token.
func TestWrongSecrets(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Logins = logins(t) })
	const tries = 3
	began := time.Now()
	for range tries {
		f.get("/live", func(r *http.Request) { r.Header.Set("Authorization", "Bearer reader-secret-012345678X") })
	}
	if waited := time.Since(began); waited < (100+200+300)*time.Millisecond {
		t.Errorf("%d wrong tokens are answered within %v", tries, waited)
	}
	entries := f.logged.FilterMessage("console: a login has failed").All()
	if len(entries) != tries || entries[0].ContextMap()["from"] == "" {
		t.Errorf("the log says %v", entries)
	}
	if strings.Contains(fmt.Sprint(entries), "reader-secret") {
		t.Error("the log has the secret")
	}
}

// TestOpenOnlyOnLoopback: without logins, no other address will do; a wildcard address needs a name; client certificates need TLS, a CA and logins.
func TestOpenOnlyOnLoopback(t *testing.T) {
	address := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 80} }
	some, certified := logins(t), []Login{{Name: "ann", Role: reader, cert: true}}
	cas := func() *x509.CertPool { return x509.NewCertPool() }
	served := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
	for name, test := range map[string]struct {
		ip  string
		cfg Config
		ok  bool
	}{
		"loopback":             {"127.0.0.1", Config{}, true},
		"IPv6 loopback":        {"::1", Config{}, true},
		"everywhere":           {"0.0.0.0", Config{}, false},
		"elsewhere":            {"10.1.2.3", Config{}, false},
		"with logins":          {"10.1.2.3", Config{Logins: some}, true},
		"everywhere, no name":  {"0.0.0.0", Config{Logins: some}, false},
		"everywhere by a name": {"0.0.0.0", Config{Logins: some, Hosts: []string{"pgtee.example"}}, true},

		"by certificate":                   {"10.1.2.3", Config{Logins: certified, ClientCAs: cas, Certificate: served}, true},
		"by certificate, everybody":        {"10.1.2.3", Config{ClientCAs: cas, Certificate: served}, false},
		"by certificate, everybody, local": {"127.0.0.1", Config{ClientCAs: cas, Certificate: served}, false},
		"by certificate, no line":          {"10.1.2.3", Config{Logins: some, ClientCAs: cas, Certificate: served}, false},
		"by certificate, no CA":            {"10.1.2.3", Config{Logins: certified, Certificate: served}, false},
		"by certificate, no TLS":           {"127.0.0.1", Config{Logins: certified, ClientCAs: cas}, false},
	} {
		test.cfg.Log = zap.NewNop()
		if _, err := newGuard(address(test.ip), test.cfg); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTLS: with a certificate the console speaks TLS only.
func TestTLS(t *testing.T) {
	other := httptest.NewTLSServer(nil)
	defer other.Close()
	certificate := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &other.TLS.Certificates[0], nil }
	c, err := Open("127.0.0.1:0", Config{Open: reader, Certificate: certificate, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	answer, err := other.Client().Get(c.URL() + "configuration")
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%s: %v, %v", c.URL(), answer, err)
	} else {
		answer.Body.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestMarkup: what strangers write is text on every page: names, SQL, keys, columns, values, topics, flags.
func TestMarkup(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>'`
	f := newFixture(t, func(c *Config) {
		c.Settings = map[string]string{evil: evil}
		c.Streams[0].Database, c.Streams[0].Slot = evil, evil
	})
	table := "public." + evil
	f.make("shop.audit", 1)
	topic := "shop.public.___script_alert_1___script__img_src_x_onerror_alert_2___"
	f.make(topic, 1)
	f.make("shop.ddl", 1)
	f.make("shop.dead-letter", 1)
	f.make("shop.outbox.refused", 1)
	by := who{evil, evil, evil}
	key := `{` + quoted(evil) + `:` + quoted(evil) + `}`
	id := f.write(by, "UPDATE", "/* "+evil+" */", table, key, `{`+quoted(evil)+`:"a"}`, `{`+quoted(evil)+`:`+quoted(evil)+`}`)
	q := quoted(evil)
	f.commit(record("shop.ddl", evil, `{"command":`+q+`,"statement":`+q+`,"user":`+q+`,"application":`+q+`,"commit_time":"2025-01-31T12:00:00Z","objects":[{"name":`+q+`}]}`, evil),
		record("shop.dead-letter", evil, `{"source":`+q+`,"key":`+q+`,"reason":`+q+`,"bytes":5,"pgtee":{"session":{"user":`+q+`}}}`, evil),
		&kgo.Record{Topic: "shop.outbox.refused", Key: []byte(evil), Value: []byte(evil), Headers: []kgo.RecordHeader{{Key: "pgtee-refused", Value: []byte(evil)}, {Key: "pgtee-refused-topic", Value: []byte(evil)}}},
		record("shop.audit", evil, evil, "7300/pgtee/1/0/9999/audit"))
	escaped := url.QueryEscape(evil)
	for _, path := range []string{
		"/live", "/live?user=" + escaped + "&text=" + escaped + "&session=" + escaped, "/transaction?id=" + id, "/row?table=" + url.QueryEscape(table) + "&key=" + url.QueryEscape(key),
		"/row?table=" + url.QueryEscape(table), "/streams", "/tables", "/ddl", "/dead-letters", "/configuration", "/check", "/transaction?id=" + escaped,
		"/record?topic=shop.audit&partition=0&offset=0", "/record?topic=shop.ddl&partition=0&offset=0", "/record?topic=" + topic + "&partition=0&offset=0", "/record?topic=" + escaped,
		"/live?stream=" + escaped, "/login?to=" + escaped,
	} {
		_, body, header := f.get(path)
		if strings.Contains(body, "<script>") || strings.Contains(body, "<img") || strings.Contains(body, "onerror=alert(2)>") {
			t.Errorf("%s has markup of a stranger:\n%s", path, body)
		}
		if !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
			t.Errorf("%s is %s", path, header.Get("Content-Type"))
		}
	}
	f.expect(f.page("/transaction?id="+id), "alert(1)") // it is there, as text
}
