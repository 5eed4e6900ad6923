package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/subscriber/decode"
	"github.com/pgtee/pgtee/subscriber/postgres"
)

// ddlRecord is a record of <prefix>.ddl.
type ddlRecord struct {
	Version    int         `json:"v"`
	Command    string      `json:"command"`
	Statement  string      `json:"statement"`
	User       string      `json:"user"`
	CommitTime time.Time   `json:"commit_time"`
	TimeZone   string      `json:"time_zone"`
	DateStyle  string      `json:"date_style"`
	Atomic     bool        `json:"atomic"`
	Objects    []ddlObject `json:"objects"`
	Pgtee      json.RawMessage
	Own        string     `json:"-"` // the command in the text of the Query; "": it is not there, because a function ran it
	Names      [][]string `json:"-"` // objects that Own names: see Statement
	Moved      bool       `json:"-"` // see Statement
	Why        string     `json:"-"` // why Own is not known
	Text       string     `json:"-"` // SQL to run in the target
}

type ddlObject struct {
	Command       string      `json:"command"`
	Type          string      `json:"type"`
	Schema        string      `json:"schema"`
	Name          string      `json:"name"`
	Dropped       bool        `json:"dropped"`
	Root          string      `json:"root"` // of a partition: the identity of the partitioned table that it belongs to; "" otherwise
	Columns       []ddlColumn `json:"columns"`
	ColumnsBefore []ddlColumn `json:"columns_before"`
}

type ddlColumn struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	NotNull bool   `json:"not_null"`
	Default string `json:"default"`
}

const newestDDL = 1

// addDDL handles a DDL command according to the policy. An applied command has a batch to itself, because the tables differ before and after it.
func (a *assembler) addDDL(ctx context.Context, e event) error {
	var d ddlRecord
	if err := json.Unmarshal(e.record.Value, &d); err != nil {
		return Halt{fmt.Sprintf("%s: %v", placeOf(e.record), err), "find out what wrote that record"}
	}
	if d.Version > newestDDL {
		return Halt{fmt.Sprintf("%s has version %d, this program reads up to %d", placeOf(e.record), d.Version, newestDDL), "upgrade pgtee"}
	}
	if len(d.Objects) == 0 {
		return nil
	}
	d.Atomic = !outsideTransaction(e.record.Value)
	if !d.isWhole() {
		d.Why = "the publisher leaves it out (--sql-text off, a credential), or it is longer than 64 KiB"
	}
	d.Statement = withoutNote(d.Statement)
	if d.Why == "" {
		own, known := d.find(a.cfg.splitSQL(d.Command)(d.Statement), a.nextOf(e, &d))
		if d.Own = own; !known {
			d.Why = fmt.Sprintf("it cannot be determined which command of `%s` it is", d.Statement)
		}
	}
	all := d.Objects
	d.Objects = a.cfg.concerned(all, d.Own)
	if len(d.Objects) == 0 {
		return nil
	}
	switch a.cfg.DDL {
	case DDLIgnore:
		a.log.Info("DDL of the source is ignored", zap.String("command", d.Command), zap.String("user", d.User))
		return a.forget(ctx) // somebody may have run it on the target
	case DDLApply:
	default:
		if !d.changesTables() {
			return nil
		}
		var w who
		_ = json.Unmarshal(d.Pgtee, &w)
		return Halt{fmt.Sprintf("%s of the source in the transaction that commits at %s: `%s`, run by %s", d.Command, e.commit, d.Statement, d.User),
			"run it on the target and start with --ddl ignore until it is passed, or start with --ddl apply"}
	}
	if name := a.cfg.renames(&d); name != "" {
		return Halt{fmt.Sprintf("%s concerns %s, which has another name in the target (--map): `%s`, run by %s", d.Command, name, d.Statement, d.User),
			"run it there under that name, and start with --ddl ignore until it is passed"}
	}
	if name := d.dropsOther(all); name != "" {
		return Halt{fmt.Sprintf("%s names %s, which is left out, beside tables that are not: `%s`, run by %s", d.Command, name, d.Statement, d.User),
			"drop the others on the target, and start with --ddl ignore until it is passed"}
	}
	var err error
	if d.Text, err = d.text(); err != nil {
		return err
	}
	if d.Text == "" {
		a.log.Info("DDL that does not affect rows is left out", zap.String("command", d.Command), zap.String("statement", d.Statement))
		return nil
	}
	if !a.batch.empty() {
		if err := a.hand(ctx, true); err != nil {
			return err
		}
	}
	a.batch.ddl = &d
	a.batch.events++
	if err := a.hand(ctx, true); err != nil {
		return err
	}
	if err := a.settle(ctx); err != nil {
		return err
	}
	return a.forget(ctx)
}

var (
	concurrently       = regexp.MustCompile(`(?i)\bconcurrently\b`)
	detachConcurrently = regexp.MustCompile(`(?is)\bdetach\s+partition\s.*\bconcurrently\b`)
)

// outsideTransaction reports whether the command of a DDL record cannot run in a transaction block.
func outsideTransaction(record []byte) bool {
	if string(decode.Field(record, "atomic")) == "false" {
		return true
	}
	statement := decode.Unquoted(decode.Field(record, "statement"))
	switch decode.Unquoted(decode.Field(record, "command")) {
	case "CREATE INDEX", "DROP INDEX", "REINDEX":
		return concurrently.MatchString(statement)
	case "ALTER TABLE":
		return detachConcurrently.MatchString(statement)
	}
	return false
}

// withoutNote removes the note that the proxy puts before a Query.
func withoutNote(sql string) string {
	if rest, ours := strings.CutPrefix(sql, "SELECT pgtee.note("); ours {
		if _, after, found := strings.Cut(rest, ";"); found {
			return after
		}
	}
	return sql
}

// concerned returns the objects of a command that are applied; text is the command. If all tables of the command are left out, so are its indexes and
// sequences.
func (c *Config) concerned(objects []ddlObject, text string) []ddlObject {
	isTable := func(o ddlObject) bool { return o.table() != "" }
	left := slices.DeleteFunc(slices.Clone(objects), func(o ddlObject) bool { return !c.concerns(&o, text) })
	if slices.ContainsFunc(objects, isTable) && !slices.ContainsFunc(left, isTable) {
		left = slices.DeleteFunc(left, func(o ddlObject) bool { return o.Type == "index" || o.Type == "sequence" })
	}
	return left
}

// concerns reports whether an object is applied: it does not belong to pgtee or to an excluded table and, if tables are selected, is one of them. text
// is the command.
func (c *Config) concerns(o *ddlObject, text string) bool {
	if o.Schema == "pgtee" || o.Schema == "" && o.Type != "schema" && len(c.Tables) > 0 {
		return false
	}
	if table := o.table(); table != "" {
		return c.includes(table)
	}
	if table := o.tableOf(text); table != "" && !c.includes(table) {
		return false
	}
	return len(c.Tables) == 0
}

// dropsOther returns a table that a DROP names and that is not applied; "" if there is none. all are the objects of the record.
func (d *ddlRecord) dropsOther(all []ddlObject) string {
	for i := range all {
		o := &all[i]
		alone := ddlRecord{Objects: all[i : i+1]}
		isNamed := slices.ContainsFunc(d.Names, func(name []string) bool { return alone.has(name) && (len(name) > 1 || !d.followsRoot(o, name[0])) })
		if o.Dropped && o.Type == "table" && isNamed && !slices.ContainsFunc(d.Objects, func(left ddlObject) bool { return left.Type == o.Type && left.Name == o.Name }) {
			return o.Name
		}
	}
	return ""
}

// table returns schema.table of an object that is a table or a column; "" for another one.
func (o *ddlObject) table() string {
	if o.Type != "table" && o.Type != "table column" {
		return ""
	}
	return tableNamed(o.Name)
}

func tableNamed(identity string) string {
	parts := outbox.IdentityParts(identity)
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + "." + parts[1]
}

// createIndex finds the name of the table in CREATE INDEX.
var createIndex = regexp.MustCompile(`(?is)^\s*create\s+(?:unique\s+)?index\s(?:.*?\s)?on\s+(?:only\s+)?((?:"(?:[^"]|"")+"|[^\s("])+)`)

var ownedName = regexp.MustCompile(`(?s)^(?:"(?:[^"]|"")+"|[^\s"]+) on (.*)$`)

// owner returns what the name of a trigger, a policy or a rule says of its table: public.orders of "t on public.orders"; "" for other objects.
func (o *ddlObject) owner() string {
	if found := ownedName.FindStringSubmatch(o.Name); found != nil {
		return found[1]
	}
	return ""
}

// tableOf returns schema.table of the table that an object belongs to; "" if that is not known. The name of an index has only the schema, which is that of
// the table.
func (o *ddlObject) tableOf(text string) string {
	switch o.Type {
	case "trigger", "policy", "rule":
		return tableNamed(o.owner())
	case "index":
		found := createIndex.FindStringSubmatch(text)
		if found == nil {
			return ""
		}
		name := found[1]
		if !strings.Contains(name, `"`) {
			name = strings.ToLower(name)
		}
		parts := outbox.IdentityParts(name)
		if len(parts) == 0 {
			return ""
		}
		return o.Schema + "." + parts[len(parts)-1]
	}
	return ""
}

// renames returns the schema or table that a command concerns and that has another name in the target; "" if there is none. The objects do not say
// which table an index belongs to, or what a table was called before it was renamed: therefore the text counts as well.
func (c *Config) renames(d *ddlRecord) string {
	for _, name := range slices.Sorted(maps.Keys(c.Map)) {
		_, table, ofTable := strings.Cut(name, ".")
		if ofTable && mentions(d.Statement, table) {
			return name
		}
		for i := range d.Objects {
			if o := &d.Objects[i]; o.table() == name || o.Schema == name || o.Type == "schema" && slices.Equal(outbox.IdentityParts(o.Name), []string{name}) {
				return name
			}
		}
	}
	return ""
}

// mentions reports whether a name occurs in SQL as a word.
func mentions(sql, name string) bool {
	const end = `(?:$|[^\pL\pN_$])`
	return regexp.MustCompile(`(?i)(?:^|[^\pL\pN_$])` + regexp.QuoteMeta(strings.ReplaceAll(name, `"`, `""`)) + end).MatchString(sql)
}

// nextOf returns the place after the statement that was found last for a record of the same Query in the same transaction: see find.
func (a *assembler) nextOf(e event, d *ddlRecord) *int {
	if a.ddlOf != e.commit {
		a.ddlOf, a.ddlNext = e.commit, map[string]*int{}
	}
	if a.ddlNext[d.Statement] == nil {
		a.ddlNext[d.Statement] = new(int)
	}
	return a.ddlNext[d.Statement]
}

// changesTables reports whether a command may change the rows or columns that tables can have.
func (d *ddlRecord) changesTables() bool {
	switch d.Command {
	case "CREATE TABLE", "ALTER TABLE", "DROP TABLE", "CREATE TABLE AS", "SELECT INTO", "DROP SCHEMA", "ALTER SCHEMA", "CREATE SCHEMA", "ALTER TYPE", "CREATE TYPE", "DROP TYPE", "CREATE DOMAIN", "ALTER DOMAIN", "DROP DOMAIN",
		"CREATE EXTENSION", "DROP EXTENSION", "DROP OWNED", "IMPORT FOREIGN SCHEMA":
		return true
	}
	return false
}

// text returns the SQL to run in the target; "" for none. It is an error if the SQL cannot be determined.
func (d *ddlRecord) text() (string, error) {
	created := d.create()
	switch {
	case (d.Command == "CREATE TABLE AS" || d.Command == "SELECT INTO") && created != "": // its rows are in the stream
		return created, nil
	case d.Why != "":
		return "", d.unknown(d.Why)
	case strings.Contains(d.Own, redacted):
		return "", d.unknown(fmt.Sprintf("it has values that are hidden: `%s`", d.Own))
	case len(d.schemas()) > 1 || d.Moved:
		return "", Halt{fmt.Sprintf("%s of %s, run by %s at the source, names objects without their schemas, and the stream does not have its search_path: `%s`", d.Command, d.objects(), d.User, d.Own),
			"run it on the target with the names of the schemas, and start with --ddl ignore until it is passed"}
	case d.schemaOf() == "" && grantsUnqualified(d.Own):
		return "", nil // the record of a GRANT has no objects, so it may be about other ones in the target
	case d.Own != "":
		return d.Own, nil
	case d.Command == "CREATE TABLE" && created != "":
		return created, nil
	case d.changesTables():
		return "", d.unknown(fmt.Sprintf("a function or trigger has run it in `%s`", d.Statement))
	}
	return "", nil // irrelevant for rows
}

// create returns a CREATE TABLE for the columns in the record.
func (d *ddlRecord) create() string {
	for _, o := range d.Objects {
		if o.Type != "table" || len(o.Columns) == 0 {
			continue
		}
		var columns []string
		for _, c := range o.Columns {
			column := postgres.QuoteIdentifier(c.Name) + " " + c.Type
			if c.NotNull {
				column += " NOT NULL"
			}
			columns = append(columns, column)
		}
		return fmt.Sprintf("CREATE TABLE %s (%s)", o.Name, strings.Join(columns, ", "))
	}
	return ""
}

// schemas returns the schemas of the objects that the command names without one.
func (d *ddlRecord) schemas() (list []string) {
	for _, name := range d.Names {
		if len(name) != 1 {
			continue
		}
		for i := range d.Objects {
			for _, own := range d.Objects[i].names() {
				if len(own) > 1 && own[len(own)-1] == name[0] && !d.followsRoot(&d.Objects[i], name[0]) && !slices.Contains(list, own[0]) {
					list = append(list, own[0])
				}
			}
		}
	}
	return list
}

// followsRoot reports whether an object is a partition beside its root of the same name, which is the one that the command names.
func (d *ddlRecord) followsRoot(o *ddlObject, name string) bool {
	root := outbox.IdentityParts(o.Root)
	return o.Root != o.Name && len(root) > 1 && root[1] == name && d.has(root)
}

// schemaOf returns the schema in which to resolve unqualified names of a command; "" if its objects have none. That of a trigger, a policy or a rule is the
// schema of its table.
func (d *ddlRecord) schemaOf() string {
	if named := d.schemas(); len(named) > 0 {
		return named[0]
	}
	for _, o := range d.Objects {
		schema := o.Schema
		if parts := outbox.IdentityParts(o.owner()); schema == "" && len(parts) > 1 {
			schema = parts[0]
		}
		if schema != "" && !strings.HasPrefix(schema, "pg_") {
			return schema
		}
	}
	return ""
}

var (
	grantOn     = regexp.MustCompile(`(?is)^\s*(?:grant|revoke)\s.*?\son\s+(.*?)\s+(?:to|from)\s`)
	outOfSchema = regexp.MustCompile(`(?i)^(?:all|database|foreign|language|large|parameter|schema|tablespace)\s`)
	grantKind   = regexp.MustCompile(`(?i)^(?:table|sequence|function|procedure|routine|type|domain)\s+`)
	listItem    = regexp.MustCompile(`(?:"(?:[^"]|"")+"|[^",])+`)
	arguments   = regexp.MustCompile(`\([^)]*\)`)
)

// grantsUnqualified reports whether a GRANT or REVOKE is about objects in schemas and names one without its schema.
func grantsUnqualified(sql string) bool {
	on := grantOn.FindStringSubmatch(sql)
	if on == nil || outOfSchema.MatchString(on[1]) {
		return false
	}
	for _, name := range listItem.FindAllString(arguments.ReplaceAllString(grantKind.ReplaceAllString(on[1], ""), ""), -1) {
		if len(outbox.IdentityParts(strings.TrimSpace(name))) < 2 {
			return true
		}
	}
	return false
}

// isDone reports whether an error of a command that cannot run in a transaction says that an earlier run has executed it.
func (d *ddlRecord) isDone(state string) bool {
	switch first, _, _ := strings.Cut(d.Command, " "); first {
	case "CREATE":
		return state == "42P07" || state == "42710" || state == "42P06"
	case "DROP":
		return state == "42P01" || state == "42704"
	}
	return false
}

// An index is invalid until CREATE INDEX CONCURRENTLY has finished.
const (
	validQuery    = "SELECT indisvalid::pg_catalog.text FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass($1)"
	detachedQuery = "SELECT 1 FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1) AND NOT relispartition"
)

// wasRun reports whether an earlier run has executed a command that cannot run in a transaction. It drops an index that the earlier run has left unfinished.
func (t *target) wasRun(ctx context.Context, d *ddlRecord) (bool, error) {
	for _, o := range d.Objects {
		switch {
		case d.Command == "CREATE INDEX" && o.Type == "index":
			rows, err := postgres.Query(ctx, t.conn, validQuery, o.Name)
			if err != nil || len(rows) == 0 || rows[0][0] == "true" {
				return len(rows) > 0, err
			}
			return false, t.refused(t.exec(ctx, "DROP INDEX CONCURRENTLY "+o.Name), "DROP INDEX of "+o.Name+", which is not finished")
		case o.Command == "DETACH PARTITION":
			rows, err := postgres.Query(ctx, t.conn, detachedQuery, o.Name)
			return len(rows) > 0, err
		}
	}
	return false, nil
}

// settings returns SQL that sets what the text of a command means: the names in it, and its constants of date and time types, which PostgreSQL evaluates
// once, under the settings of the session that runs the command.
func (d *ddlRecord) settings() string {
	return fmt.Sprintf("SET search_path = %s, public, pg_catalog; SET TimeZone = %s; SET DateStyle = %s", postgres.QuoteIdentifier(cmp.Or(d.schemaOf(), "public")),
		postgres.QuoteLiteral(cmp.Or(d.TimeZone, postgres.Settings["timezone"])), postgres.QuoteLiteral(cmp.Or(d.DateStyle, postgres.Settings["datestyle"])))
}

// ownSettings restores the settings under which rows are written.
var ownSettings = fmt.Sprintf("SET search_path = %s; SET TimeZone = %s; SET DateStyle = %s",
	postgres.Settings["search_path"], postgres.Settings["timezone"], postgres.QuoteLiteral(postgres.Settings["datestyle"]))

// define runs the DDL command of a batch.
func (t *target) define(ctx context.Context, b *batch) error {
	d := b.ddl
	if d.Atomic {
		if err := t.open(ctx); err != nil {
			return err
		}
	} else if t.inside {
		return fmt.Errorf("%s cannot run in the open transaction", d.Command)
	} else if done, err := t.wasRun(ctx, d); err != nil || done {
		return err
	}
	last, err := t.lastColumns(ctx, d)
	if err != nil {
		return err
	}
	if err = t.exec(ctx, d.settings()); err == nil {
		err = t.afterChecks(ctx, b, d.Text)
	}
	if !d.Atomic && d.isDone(postgres.State(err)) {
		err = nil
	}
	if err != nil {
		if refused := final(err); refused != nil {
			return Halt{fmt.Sprintf("the target refused %s, run by %s at the source: %s: `%s`", d.Command, d.User, refused.Message, d.Text),
				"change the target as the statement would, and start with --ddl ignore until it is passed"}
		}
		return err
	}
	if err := t.exec(ctx, ownSettings); err != nil {
		return err
	}
	if err := t.checkFilled(ctx, d, d.Text, last); err != nil {
		return err
	}
	t.cfg.Log.Info("DDL is applied", zap.String("command", d.Command), zap.String("user", d.User))
	return nil
}
