package console

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Role says what a user may do. The zero value permits nothing.
type Role int

const (
	reader Role = iota + 1 // may read
	Admin                  // may also end sessions and control snapshots
)

// Reader may read everything.
const Reader = reader

func (r Role) String() string { return [...]string{"nobody", "reader", "admin"}[r] }

// Login is a user who may log in.
type Login struct {
	Name string
	Role Role
	hash [sha256.Size]byte // of the secret
	cert bool              // there is no secret: the user has a client certificate with this common name
}

// byCertificate stands in place of the secret of a user with a client certificate.
const byCertificate = "certificate"

// minSecret is the minimum length of a secret: it is compared by a fast hash, so it must not be guessable.
const minSecret = 16

// ReadLogins reads a file with lines NAME ROLE SECRET. The role is reader or admin; the secret is given as it is, as sha256:HEX, or is the word
// certificate: then NAME is a common name, which may contain spaces. Lines that begin with # are comments.
func ReadLogins(path string) ([]Login, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var logins []Login
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		login, err := parseLogin(fields)
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, number, err)
		}
		logins = append(logins, login)
	}
	if len(logins) == 0 && lines.Err() == nil {
		return nil, fmt.Errorf("%s: it has no line NAME ROLE SECRET", path)
	}
	return logins, lines.Err()
}

func parseLogin(fields []string) (l Login, err error) {
	if last := len(fields) - 1; last > 2 && fields[last] == byCertificate {
		fields = []string{strings.Join(fields[:last-1], " "), fields[last-1], byCertificate}
	}
	if len(fields) != 3 {
		return l, errors.New("want NAME ROLE SECRET, such as: ann reader $(openssl rand -hex 24)")
	}
	l.Name = fields[0]
	switch fields[1] {
	case "reader":
		l.Role = reader
	case "admin":
		l.Role = Admin
	default:
		return l, errors.New("the role is reader or admin")
	}
	if fields[2] == byCertificate {
		l.cert = true
		return l, nil
	}
	if digest, hashed := strings.CutPrefix(fields[2], "sha256:"); hashed {
		sum, err := hex.DecodeString(digest)
		if err != nil || copy(l.hash[:], sum) != len(l.hash) || len(sum) != len(l.hash) {
			return l, errors.New("want 64 hex digits after sha256:")
		}
		return l, nil
	}
	if len(fields[2]) < minSecret {
		return l, fmt.Errorf("the secret has fewer than %d characters: make one with openssl rand -hex 24", minSecret)
	}
	l.hash = sha256.Sum256([]byte(fields[2]))
	return l, nil
}

// guard controls access.
type guard struct {
	logins  []Login
	open    Role
	hosts   []string              // without ports, in lower case
	secure  bool                  // browsers use TLS
	clients func() *x509.CertPool // CAs of client certificates; nil: these are not asked for
	foreign *http.CrossOriginProtection
	log     *zap.Logger

	mu       sync.Mutex
	failures int                           // recent failed logins: each delays the next one
	tickets  map[[sha256.Size]byte]*ticket // by the hash of the cookie
}

// ticket is the session of a logged-in browser. It ends at its time limit, when the user logs out, or with this process.
type ticket struct {
	person
	until time.Time
}

const (
	cookieName   = "pgtee_console"
	cookieLasts  = 12 * time.Hour
	maxTickets   = 100 // of a user; a further login ends the oldest one
	maxFormBytes = 16 << 10
)

func newGuard(address net.Addr, cfg Config) (*guard, error) {
	host, _, err := net.SplitHostPort(address.String())
	if err != nil {
		return nil, err
	}
	ip := net.ParseIP(host)
	if len(cfg.Logins) == 0 && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("--console: %s is not a loopback address: say who may log in with --console-logins FILE, or listen on 127.0.0.1", address)
	}
	switch certified := slices.ContainsFunc(cfg.Logins, func(l Login) bool { return l.cert }); {
	case cfg.ClientCAs != nil && cfg.Certificate == nil:
		return nil, errors.New("--console-client-ca: client certificates need TLS: add --console-cert and --console-key")
	case cfg.ClientCAs != nil && !certified:
		return nil, errors.New("--console-client-ca: say whose certificates may log in: in --console-logins, a line NAME ROLE certificate for each common name")
	case cfg.ClientCAs == nil && certified:
		return nil, errors.New("--console-logins: it has a line NAME ROLE certificate: name the CA of these certificates with --console-client-ca")
	}
	g := &guard{logins: cfg.Logins, open: cfg.Open, secure: cfg.Certificate != nil, clients: cfg.ClientCAs, foreign: http.NewCrossOriginProtection(), log: cfg.Log,
		tickets: map[[sha256.Size]byte]*ticket{}}
	if ip.IsUnspecified() && len(cfg.Hosts) == 0 {
		return nil, fmt.Errorf("--console %s: say by which name browsers call it with --console-host NAME: other names are refused", address)
	}
	g.hosts = []string{"localhost", "127.0.0.1", "::1"}
	if !ip.IsUnspecified() {
		g.hosts = append(g.hosts, host)
	}
	for _, name := range cfg.Hosts {
		g.hosts = append(g.hosts, strings.ToLower(name))
	}
	return g, nil
}

// protect refuses requests that do not come from pages of the console, and sets the headers that its pages require.
func (g *guard) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "+
			"require-trusted-types-for 'script'; trusted-types pgtee")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin") // with no-referrer, a browser sends the console's own forms with the Origin "null"
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !g.knows(r.Host) {
			http.Error(w, "pgtee console: the name in the address is not one of this server: use its own, or start pgtee with --console-host "+strconv.Quote(hostOf(r.Host)), http.StatusMisdirectedRequest)
			return
		}
		if !sameOrigin(r) || g.foreign.Check(r) != nil {
			http.Error(w, "pgtee console: refused: the request comes from another site", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
		next.ServeHTTP(w, r)
	})
}

// knows reports whether a Host header names this server: any other name that resolves to it belongs to another site (DNS rebinding).
func (g *guard) knows(host string) bool { return slices.Contains(g.hosts, hostOf(host)) }

func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

// sameOrigin reports whether a request can come from a page of the console, or from an address that the user typed or followed.
func sameOrigin(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host != r.Host {
			return false
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// person is the user who makes a request.
type person struct {
	Name      string
	Role      Role
	Certified bool // by a client certificate: there is nothing to log out of
}

// who returns the user who makes a request; a user without a role may only log in. Secret and cookie come before the certificate, which browsers send
// unasked. A request with a wrong secret or certificate is delayed.
func (g *guard) who(r *http.Request) person {
	if len(g.logins) == 0 {
		return person{Role: g.open}
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		who := g.login("", token)
		if who.Role == 0 {
			g.fail(r, "", nil)
		}
		return who
	}
	if cookie, err := r.Cookie(cookieName); err == nil {
		if who := g.holder(cookie.Value, time.Now()); who.Role > 0 {
			return who
		}
	}
	who, err := g.certified(r)
	if err != nil {
		g.fail(r, who.Name, err)
	}
	return who
}

// certified returns the user of the client certificate of a request, without a role if there is none or, after an error, if it is not accepted. The
// handshake proves that the client has its key; the rest is verified with each request: a CA that was replaced, or a certificate that has expired, ends
// what is open, and a browser with a wrong certificate gets the login page and not a broken connection.
func (g *guard) certified(r *http.Request) (who person, err error) {
	if g.clients == nil || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return who, nil
	}
	certificate := r.TLS.PeerCertificates[0]
	who.Name = certificate.Subject.CommonName
	trusted := x509.VerifyOptions{Roots: g.clients(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, between := range r.TLS.PeerCertificates[1:] {
		trusted.Intermediates.AddCert(between)
	}
	if _, err := certificate.Verify(trusted); err != nil {
		return who, err
	}
	i := slices.IndexFunc(g.logins, func(l Login) bool { return l.cert && l.Name == who.Name })
	if i < 0 {
		return who, fmt.Errorf("--console-logins has no line for its common name %q", cut(who.Name, 64))
	}
	return person{who.Name, g.logins[i].Role, true}, nil
}

// login returns the user with this secret; if a name is given, the secret must be that user's. Every login is compared, in constant time.
func (g *guard) login(name, secret string) (found person) {
	hash := sha256.Sum256([]byte(secret))
	for _, l := range g.logins {
		if subtle.ConstantTimeCompare(hash[:], l.hash[:]) == 1 && !l.cert && (name == "" || name == l.Name) {
			found = person{Name: l.Name, Role: l.Role}
		}
	}
	return found
}

// admit returns a cookie for a user who has logged in.
func (g *guard) admit(p person, now time.Time) (cookie string) {
	cookie = rand.Text()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures = 0
	var oldest [sha256.Size]byte
	count := 0
	for hash, t := range g.tickets {
		switch {
		case now.After(t.until):
			delete(g.tickets, hash)
		case t.Name == p.Name:
			if count++; count == 1 || t.until.Before(g.tickets[oldest].until) {
				oldest = hash
			}
		}
	}
	if count >= maxTickets {
		delete(g.tickets, oldest)
	}
	g.tickets[sha256.Sum256([]byte(cookie))] = &ticket{p, now.Add(cookieLasts)}
	return cookie
}

// holder returns the user to whom a cookie was given.
func (g *guard) holder(cookie string, now time.Time) person {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.tickets[sha256.Sum256([]byte(cookie))]
	if t == nil || now.After(t.until) {
		return person{}
	}
	return t.person
}

// revoke invalidates a cookie.
func (g *guard) revoke(cookie string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.tickets, sha256.Sum256([]byte(cookie)))
}

// allow admits only users with a role; users without one are asked to log in.
func (g *guard) allow(role Role, next func(http.ResponseWriter, *http.Request, person)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who := g.who(r)
		switch {
		case who.Role >= role:
			next(w, r, who)
		case who.Role > 0:
			g.log.Warn("console: refused", zap.String("finding", "console-refused"), zap.String("who", who.Name), zap.String("page", r.URL.Path), zap.String("from", r.RemoteAddr))
			http.Error(w, "pgtee console: "+who.Role.String()+"s may not do this: ask an "+role.String(), http.StatusForbidden)
		case r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html"):
			http.Redirect(w, r, "/login?"+url.Values{"to": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="pgtee console"`)
			http.Error(w, "pgtee console: log in first, or send a secret of --console-logins as Authorization: Bearer", http.StatusUnauthorized)
		}
	}
}

// routes registers the pages that require no role.
func (g *guard) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		problem := ""
		if _, err := g.certified(r); err != nil {
			problem = "Your certificate is not accepted: " + err.Error()
		}
		g.loginPage(w, r, http.StatusOK, problem)
	})
	mux.HandleFunc("POST /login", g.logIn)
	mux.HandleFunc("POST /logout", g.logOut)
}

func (g *guard) loginPage(w http.ResponseWriter, r *http.Request, status int, problem string) {
	render(w, status, "login", frame{Title: "Log in", Page: struct{ To, Problem string }{localPath(r.FormValue("to")), problem}})
}

func (g *guard) logIn(w http.ResponseWriter, r *http.Request) {
	who := g.login(r.PostFormValue("name"), r.PostFormValue("secret"))
	if who.Role == 0 || r.PostFormValue("name") == "" {
		g.fail(r, r.PostFormValue("name"), nil)
		g.loginPage(w, r, http.StatusUnauthorized, "Wrong name or secret.")
		return
	}
	g.log.Info("console: logged in", zap.String("who", who.Name), zap.Stringer("role", who.Role), zap.String("from", r.RemoteAddr))
	g.setCookie(w, r, g.admit(who, time.Now()), cookieLasts)
	http.Redirect(w, r, localPath(r.PostFormValue("to")), http.StatusSeeOther)
}

func (g *guard) logOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		g.revoke(cookie.Value)
	}
	g.setCookie(w, r, "", -time.Second)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// setCookie sets the cookie, or removes it if lasts is negative. Browsers send an Origin with every form: it shows whether they use TLS, even if a
// proxy in between terminates it.
func (g *guard) setCookie(w http.ResponseWriter, r *http.Request, value string, lasts time.Duration) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: int(lasts.Seconds()),
		HttpOnly: true, Secure: g.secure || strings.HasPrefix(r.Header.Get("Origin"), "https://"), SameSite: http.SameSiteStrictMode})
}

// fail logs a wrong secret, or why a certificate is not accepted, and delays the response; the delay increases with the number of failures. name is "" if
// only a secret was sent.
func (g *guard) fail(r *http.Request, name string, why error) {
	g.log.Warn("console: a login has failed", zap.String("finding", "console-login-failed"), zap.String("name", cut(name, 64)), zap.String("from", r.RemoteAddr), zap.Error(why))
	g.mu.Lock()
	g.failures++
	wait := min(time.Duration(g.failures)*100*time.Millisecond, 3*time.Second)
	g.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-r.Context().Done():
	}
}

// localPath returns a path on this server, or "/" for anything else.
func localPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, `\`) {
		return "/"
	}
	return to
}
