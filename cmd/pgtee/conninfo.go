package main

import (
	"cmp"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
)

// AfterApply uses libpq's environment variables if --postgres is not given. https://www.postgresql.org/docs/current/libpq-envars.html
func (f *postgresFlags) AfterApply() error {
	if len(f.Postgres) > 0 {
		return nil
	}
	if os.Getenv("PGHOST") == "" && os.Getenv("PGHOSTADDR") == "" && os.Getenv("PGSERVICE") == "" {
		return errors.New("missing flags: --postgres=URL, or PGHOST, PGDATABASE and the other variables of libpq")
	}
	u, err := urlOf(map[string]string{"host": os.Getenv("PGHOST"), "hostaddr": os.Getenv("PGHOSTADDR"), "port": os.Getenv("PGPORT"), "service": os.Getenv("PGSERVICE")})
	if err == nil {
		f.Postgres = postgresURLs{{u}}
	}
	return err
}

var errTwoHosts = errors.New("host and hostaddr (PGHOST and PGHOSTADDR) name the server twice: give one of them; with sslmode=verify-full it is the name in the certificate")

// parsePostgres parses a URL, or a keyword/value connection string: host=h dbname=d.
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
func parsePostgres(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		keywords, err := parseKeywords(text)
		if err != nil {
			return nil, err
		}
		return urlOf(keywords)
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || !hasHost(u) {
		return nil, errPostgresURL
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/" + os.Getenv("PGDATABASE")
	}
	return u, nil
}

// hasHost reports whether a URL or the environment names a server.
func hasHost(u *url.URL) bool {
	return u.Host != "" || u.Query().Get("host") != "" || os.Getenv("PGHOST") != ""
}

// urlOf returns the URL that is equivalent to the keywords of a connection string.
func urlOf(keywords map[string]string) (*url.URL, error) {
	u := &url.URL{Scheme: "postgres", Path: "/" + cmp.Or(keywords["dbname"], os.Getenv("PGDATABASE"))}
	if user, given := keywords["user"]; given {
		u.User = url.User(user)
		if password, given := keywords["password"]; given {
			u.User = url.UserPassword(user, password)
		}
	} else if keywords["password"] != "" {
		u.User = url.UserPassword("", keywords["password"])
	}
	query := url.Values{}
	for name, value := range keywords {
		switch name {
		case "host", "hostaddr", "port", "user", "password", "dbname":
		default:
			if value != "" {
				query.Set(name, value)
			}
		}
	}
	if keywords["hostaddr"] != "" && keywords["host"] != "" { // libpq dials the one, and checks the certificate against the other
		return nil, errTwoHosts
	}
	host := cmp.Or(keywords["hostaddr"], keywords["host"], os.Getenv("PGHOST"))
	port := cmp.Or(keywords["port"], os.Getenv("PGPORT"))
	if host == "" && query.Get("service") == "" {
		return nil, errPostgresURL
	}
	if strings.HasPrefix(host, "/") { // the directory of a Unix socket
		query.Set("host", host)
		if port != "" {
			query.Set("port", port)
		}
		host = ""
	}
	u.Host, u.RawQuery = joinHosts(host, port), query.Encode()
	return u, nil
}

// joinHosts joins host1,host2 and port1,port2; a single port applies to all hosts.
func joinHosts(hosts, ports string) string {
	if hosts == "" || ports == "" {
		return hosts
	}
	list, port := strings.Split(hosts, ","), strings.Split(ports, ",")
	for i, host := range list {
		own := port[0]
		if len(port) > 1 && i < len(port) {
			own = port[i]
		}
		list[i] = net.JoinHostPort(host, own)
	}
	return strings.Join(list, ",")
}

// parseKeywords parses name = value pairs; a value may be quoted, and a backslash makes the next character literal.
func parseKeywords(text string) (map[string]string, error) {
	keywords := map[string]string{}
	rest := strings.TrimSpace(text)
	for rest != "" {
		name, after, found := strings.Cut(rest, "=")
		name = strings.TrimSpace(name)
		if !found || name == "" || strings.ContainsAny(name, " '\"@:/") {
			return nil, errPostgresURL
		}
		value, left, err := cutValue(strings.TrimLeft(after, " \t"))
		if err != nil {
			return nil, err
		}
		keywords[name], rest = value, strings.TrimSpace(left)
	}
	if len(keywords) == 0 {
		return nil, errPostgresURL
	}
	return keywords, nil
}

// cutValue splits a value off the start of text.
func cutValue(text string) (value, rest string, err error) {
	quoted := strings.HasPrefix(text, "'")
	if quoted {
		text = text[1:]
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case quoted && c == '\'':
			return b.String(), text[i+1:], nil
		case !quoted && (c == ' ' || c == '\t' || c == '\n'):
			return b.String(), text[i:], nil
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return "", "", errPostgresURL
	}
	return b.String(), "", nil
}
