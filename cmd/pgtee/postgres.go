package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/proxy"
)

// postgresFlags name the server, by the hosts where it may be, and the databases.
type postgresFlags struct {
	Postgres postgresURLs `help:"The server and the database, such as postgres://user@host:5432/database or 'host=… dbname=…'; may be repeated for the hosts of one cluster. Without it PGHOST, PGDATABASE and the other variables of libpq apply; PGPASSWORD and ~/.pgpass work too." sep:"none" placeholder:"URL"`
}

// databaseFlags choose databases other than the one in the URL.
type databaseFlags struct {
	Database []string `help:"Use this database instead of the one in the URL; may be repeated: then each has the slot SLOT_DATABASE and the topic prefix PREFIX.DATABASE." placeholder:"NAME"`
}

// postgresURL is a value of --postgres. It prints without its password.
type postgresURL struct{ url *url.URL }

// postgresURLs implements its own decoding, because kong's messages would quote a value that cannot be parsed, including passwords.
type postgresURLs []postgresURL

var errPostgresURL = errors.New("want postgres://user@host:5432/database, with special characters of a password as %XX, or host=… dbname=…")

// Decode takes one value of the command line or the environment, or one value or a list of them from the file.
func (p *postgresURLs) Decode(ctx *kong.DecodeContext) error {
	value := ctx.Scan.Pop().Value
	values, isList := value.([]any)
	if !isList {
		values = []any{value}
	}
	for _, value := range values {
		text, _ := value.(string)
		u, err := parsePostgres(text)
		if err != nil {
			return err
		}
		*p = append(*p, postgresURL{u})
	}
	return nil
}

func (p postgresURL) String() string {
	shown := *p.url
	query := shown.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if query.Has(name) {
			query.Set(name, "xxxxx")
			shown.RawQuery = query.Encode()
		}
	}
	return shown.Redacted()
}

// servers returns, for the proxy, the hosts of every URL, with or without TLS according to sslmode, sslrootcert, sslcert, sslkey and sslnegotiation.
func (f postgresFlags) servers() ([]proxy.Server, error) {
	var list []proxy.Server
	for _, p := range f.Postgres {
		config, err := pgconn.ParseConfig(p.url.String())
		if err != nil {
			return nil, usage(fmt.Errorf("--postgres %s: %s", p, problemOf(err)))
		}
		direct := config.SSLNegotiation == "direct"
		for i, way := range waysOf(config) {
			next := server(way.Host, way.Port, way.TLSConfig, direct)
			if next.TLS != nil {
				next.Renewed = renewing(p, i, next.TLS)
			}
			next.Role = roleOf(config, way, next.Renewed)
			if len(list) > 0 {
				last := &list[len(list)-1]
				last.Plain = next.TLS == nil && last.TLS != nil && next.Address == last.Address
			}
			list = append(list, next)
		}
	}
	return list, nil
}

// waysOf returns every combination of host and encryption, in the order in which they are tried.
func waysOf(config *pgconn.Config) []*pgconn.FallbackConfig {
	first := pgconn.FallbackConfig{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}
	return append([]*pgconn.FallbackConfig{&first}, config.Fallbacks...)
}

// renewing returns a function that returns the TLS configuration of a URL's way, at first config, with the files as they are now: certificates are
// renewed while the process runs. If the files cannot be used, the last configuration stays in effect.
func renewing(p postgresURL, way int, config *tls.Config) func() *tls.Config {
	var last atomic.Pointer[tls.Config]
	last.Store(config)
	return func() *tls.Config {
		if now, err := pgconn.ParseConfig(p.url.String()); err == nil {
			if ways := waysOf(now); way < len(ways) && ways[way].TLSConfig != nil {
				last.Store(ways[way].TLSConfig)
			}
		}
		return last.Load()
	}
}

// target returns target_session_attrs of the URLs or the environment.
func (f postgresFlags) target() proxy.Target {
	for _, p := range f.Postgres {
		if target := p.url.Query().Get("target_session_attrs"); target != "" {
			return proxy.Target(target)
		}
	}
	return proxy.Target(os.Getenv("PGTARGETSESSIONATTRS"))
}

// roleOf returns a function that queries a server's role, over a connection that is kept between queries.
func roleOf(config *pgconn.Config, way *pgconn.FallbackConfig, renewed func() *tls.Config) func(context.Context) (proxy.Role, error) {
	own := config.Copy()
	own.Host, own.Port, own.TLSConfig = way.Host, way.Port, way.TLSConfig
	own.ValidateConnect = nil
	own.Fallbacks = slices.DeleteFunc(own.Fallbacks, func(other *pgconn.FallbackConfig) bool {
		return other.Host != way.Host || other.Port != way.Port
	})
	outbox.OwnSettings(own)
	delete(own.RuntimeParams, "default_transaction_read_only") // the query asks for this setting
	own.RuntimeParams["application_name"] = "pgtee proxy"
	var conn *pgconn.PgConn
	return func(ctx context.Context) (role proxy.Role, err error) {
		if conn == nil || conn.IsClosed() {
			if renewed != nil {
				own.TLSConfig = renewed()
			}
			if conn, err = pgconn.ConnectConfig(ctx, own); err != nil {
				return role, err
			}
		}
		const question = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('default_transaction_read_only')"
		results, err := conn.Exec(ctx, question).ReadAll()
		if err != nil || len(results) != 1 || len(results[0].Rows) != 1 {
			conn.Close(ctx)
			return role, errors.Join(errors.New("no answer"), err)
		}
		row := results[0].Rows[0]
		return proxy.Role{Standby: string(row[0]) == "t", ReadOnly: string(row[1]) == "on"}, nil
	}
}

// problemOf returns what the library reports as wrong with a URL, without the URL. Some of its errors contain nothing else.
func problemOf(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		return text[i+len("`: "):]
	}
	return text
}

func server(host string, port uint16, config *tls.Config, direct bool) proxy.Server {
	_, address := pgconn.NetworkAddress(host, port)
	return proxy.Server{Address: address, TLS: config, Direct: direct && config != nil}
}

// connString returns one connection string for all hosts; "" stands for the database of the URL.
func (f postgresFlags) connString(database string) (string, error) {
	merged := *f.Postgres[0].url
	hosts := []string{}
	for _, p := range f.Postgres {
		other := *p.url
		hosts = append(hosts, other.Host)
		other.Host = merged.Host
		if other.String() != merged.String() {
			return "", fmt.Errorf("--postgres: %s and %s differ in more than the host: all name the same cluster", f.Postgres[0], p)
		}
	}
	merged.Host = strings.Join(hosts, ",")
	if database != "" {
		merged.Path = "/" + database
	}
	if strings.Trim(merged.Path, "/") == "" {
		return "", fmt.Errorf("--postgres %s: name the database at its end (…/DATABASE), with --database or in PGDATABASE", f.Postgres[0])
	}
	query := merged.Query()
	if len(hosts) > 1 && !query.Has("target_session_attrs") {
		query.Set("target_session_attrs", "read-write")
	}
	merged.RawQuery = query.Encode()
	return merged.String(), nil
}

// source is one database with its slot and its topic prefix.
type source struct {
	connString, database, slot, prefix string
}

// answerTime is the time limit of what is asked of PostgreSQL about one database: a server whose disk or network hangs may accept connections and answer
// nothing.
var answerTime = 30 * time.Second // tests shorten it

// ask calls question, which queries the database, with this limit.
func (s source) ask(ctx context.Context, question func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err := question(limited)
	if unreachable := (outbox.ConnectError{}); err == nil || limited.Err() == nil || ctx.Err() != nil || errors.As(err, &unreachable) {
		return err
	}
	return fmt.Errorf("PostgreSQL has not answered within %s: look at its log and at pg_stat_activity, then try again (%w)", answerTime, err)
}

// sources returns the databases to work on. Slots belong to the whole server and topics to the whole Kafka cluster: with several databases, each gets
// names of its own.
func (f postgresFlags) sources(databases []string, slot, prefix string) ([]source, error) {
	if len(databases) == 0 {
		databases = []string{""}
	}
	var list []source
	for _, database := range databases {
		conn, err := f.connString(database)
		if err != nil {
			return nil, usage(err)
		}
		s := source{connString: conn, database: database, slot: slot, prefix: prefix}
		if database == "" {
			s.database = strings.Trim(f.Postgres[0].url.Path, "/")
		}
		if len(databases) > 1 {
			s.slot, s.prefix = slot+"_"+slotName(database), prefix+"."+database
		}
		list = append(list, s)
	}
	return list, nil
}

// slotName maps a database name to the characters that are allowed in the name of a slot.
func slotName(database string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(database))
}
