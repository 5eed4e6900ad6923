package outbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrPublicationMissing is a publication that does not exist: rows may be missing from the stream.
	ErrPublicationMissing = errors.New("publication missing: run pgtee setup, then take a new snapshot of the tables written since")
	// ErrPublicationChanged is a publication that was re-created or altered: rows may be missing.
	ErrPublicationChanged = errors.New("publication changed: rows may be missing from the stream; restore it or run pgtee setup, then take a new snapshot of the tables written since")
)

// publicationHash describes what both publications send, apart from their tables, whose changes come
// in the stream as DDL records: the first 16 hexadecimal digits of a SHA-256 over name, oid,
// operations, all tables, via root.
func publicationHash(ctx context.Context, conn *pgconn.PgConn) (string, error) {
	got, err := simpleQuery(ctx, conn, `SELECT pubname, oid, pubinsert, pubupdate, pubdelete, pubtruncate, puballtables, pubviaroot
		FROM pg_catalog.pg_publication WHERE pubname IN ('`+RowsPublication+`', '`+IdentityPublication+`') ORDER BY pubname COLLATE "C"`)
	if err != nil {
		return "", fmt.Errorf("look at the publications: %w", err)
	}
	return hashPublications(got)
}

// hashPublications takes rows that begin with the name.
func hashPublications(publications [][]string) (string, error) {
	h := sha256.New()
	for _, publication := range publications {
		fmt.Fprintf(h, "%q\n", publication)
	}
	for _, name := range []string{RowsPublication, IdentityPublication} {
		named := func(publication []string) bool { return publication[0] == name }
		if !slices.ContainsFunc(publications, named) {
			return "", fmt.Errorf("%w (%s)", ErrPublicationMissing, name)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}
