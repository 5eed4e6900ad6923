// Package shop is the demo's application: an order system with named users and programs, which writes through the proxy, and the comparison of what
// it wrote with the topics.
package shop

import (
	"context"
	_ "embed"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
)

// Database is the name of the shop's database; Owner is the role that owns its schema.
const (
	Database = "shop"
	Owner    = "olivia"
)

// Tables are the shop's tables; each has a primary key "id" and a trigger that maintains the ledger.
var Tables = []string{"customers", "products", "cart_items", "orders", "order_lines", "payments"}

// Users are the people who work in the shop, apart from its owner.
var Users = []string{"alice", "bob", "carol", "dave"}

var (
	//go:embed ledger.sql
	ledgerSQL string
	//go:embed schema.sql
	schemaSQL string
)

// Address says how to connect to the shop's database through the proxy, as any of its users.
type Address struct {
	HostPort string
	Password string // the same for all users, since it is a demo
}

// URL returns the connection string of a user, including the password.
func (a Address) URL(user string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, a.Password), Host: a.HostPort, Path: "/" + Database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Create creates the database, its roles and the ledger. superuser returns a connection string of the server itself for a database.
func Create(ctx context.Context, superuser func(database string) string, password string) error {
	if err := script(ctx, superuser("postgres"), "CREATE DATABASE "+Database); err != nil {
		return err
	}
	sql := ledgerSQL
	for _, user := range append([]string{Owner}, Users...) {
		sql += fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s';", user, password)
	}
	sql += fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s; GRANT ALL ON SCHEMA public TO %s;", Database, Owner, Owner)
	return script(ctx, superuser(Database), sql)
}

// Exists reports whether the server has the shop's database.
func Exists(ctx context.Context, superuser func(database string) string) (found bool, err error) {
	conn, err := pgx.Connect(ctx, superuser("postgres"))
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", Database).Scan(&found)
	return found, err
}

// Migrate creates the schema if it does not exist, as its owner and through the proxy, so that its DDL is in the stream, too.
func Migrate(ctx context.Context, address Address) error {
	conn, err := pgx.Connect(ctx, address.URL(Owner)+"&application_name=migrations")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('public.payments') IS NOT NULL").Scan(&there); err != nil || there {
		return err
	}
	_, err = conn.PgConn().Exec(ctx, schemaSQL).ReadAll()
	return err
}

// script runs several statements as one simple Query.
func script(ctx context.Context, connString, sql string) error {
	conn, err := pgx.Connect(ctx, connString)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}
