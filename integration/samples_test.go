package integration

import "strings"

// typesSchema makes what a fresh database has not: types of the user's own, of the extensions that come
// with PostgreSQL, and something to name for the reg* types. The casts make values of types whose input
// function takes none.
const typesSchema = `
CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION cube; CREATE EXTENSION seg;
CREATE EXTENSION isn; CREATE EXTENSION lo; CREATE EXTENSION intarray;

CREATE SCHEMA rt;
CREATE TYPE rt.mood AS ENUM ('sad', 'so, so', '"quoted"', 'back\slash', '', 'NULL');
CREATE DOMAIN rt.price AS numeric(10,2) CHECK (VALUE > -1000);
CREATE DOMAIN rt.discount AS rt.price;
CREATE DOMAIN rt.words AS text[];
CREATE DOMAIN rt.moody AS rt.mood;
CREATE TYPE rt.pair AS (a int, "b c" text);
CREATE TYPE rt.nested AS (p rt.pair, list rt.pair[], n numeric(5,2), m rt.mood, h public.hstore);
CREATE DOMAIN rt.checked AS rt.pair CHECK ((VALUE).a IS DISTINCT FROM 0);
CREATE TYPE rt.span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TYPE rt.letters AS RANGE (subtype = text, collation = "C");
CREATE TABLE rt."odd "" name" (a int);
CREATE FUNCTION rt."f, n"(int) RETURNS int LANGUAGE sql RETURN $1;

CREATE TABLE rt.correlated (a int DEFAULT 1 + 1, b int, c int);
INSERT INTO rt.correlated SELECT g % 5, g % 3, g % 5 FROM generate_series(1, 100) AS g;
CREATE STATISTICS rt.statistics (ndistinct, dependencies, mcv) ON a, b, c FROM rt.correlated;
ANALYZE rt.correlated;
CREATE CAST (bytea AS gtsvector) WITHOUT FUNCTION;
CREATE CAST (bytea AS pg_brin_bloom_summary) WITHOUT FUNCTION;
CREATE CAST (bytea AS pg_brin_minmax_multi_summary) WITHOUT FUNCTION;
`

var (
	dates  = []string{"1970-01-01", "2024-02-29", "1969-12-31", "0001-01-01", "0001-12-31 BC", "0044-03-15 BC", "4714-11-24 BC", "1582-10-10", "infinity", "-infinity"}
	stamps = []string{"1970-01-01 00:00:00", "2024-02-29 12:34:56.789123", "1969-12-31 23:59:59.999999", "0044-03-15 12:00:00.5 BC", "0001-12-31 BC",
		"4714-11-24 00:00:00 BC", "294246-12-31 23:59:59.999999", "294276-12-31 23:59:59", "infinity", "-infinity"}
	texts = []string{"", " ", "plain", "it's", `"`, `\`, `a\"b\\c`, "NULL", "{}", "{a,b}", "(,)", "tab\tnew\nline\rreturn", "\x01\x1f\x7f\u0080\u2028\ufeff",
		"ü ж 漢 😀", "__debezium_unavailable_value", strings.Repeat("long text ", 500)}
	clocks = []string{"00:00:00", "12:34:56.789012", "23:59:59.999999", "24:00:00", "00:00:00.000001"}
	nets   = []string{"0.0.0.0/0", "10.1.2.0/24", "255.255.255.255/32", "::/0", "2001:db8::/32", "::ffff:10.1.2.3/128"}
	isbns  = []string{"978-0-393-04002-9"}
)

// samples are literals of a type by its name in pg_type. Every type has NULL beside them. A type of the
// catalog that is not in here, nor in expressions, fails the test.
var samples = map[string][]string{
	"bool":        {"t", "f"},
	"bytea":       {`\x`, `\x00`, `\xff5c27226e00`, `\x5f5f`},
	"char":        {"", "a", `"`, `\`, `\200`, `\377`, "{"},
	"name":        {"", "pgtee", `"x,y"`, strings.Repeat("n", 63), "ü"},
	"int8":        {"0", "-1", "9223372036854775807", "-9223372036854775808"},
	"int2":        {"0", "-1", "32767", "-32768"},
	"int4":        {"0", "-1", "2147483647", "-2147483648"},
	"int2vector":  {"", "1", "-32768 0 32767"},
	"oidvector":   {"", "1", "0 26 4294967295"},
	"oid":         {"0", "26", "4294967295"},
	"tid":         {"(0,0)", "(4294967295,65535)"},
	"xid":         {"0", "3", "4294967295"},
	"cid":         {"0", "4294967295"},
	"xid8":        {"0", "18446744073709551615"},
	"text":        texts,
	"varchar":     texts,
	"bpchar":      texts,
	"citext":      texts,
	"refcursor":   {"", `cursor "1"`},
	"json":        {"null", `"x"`, ` {"a": 1, "a": [1.10, null, "\u00fc\"\\"], "b":{}} `, "[]", "1E400"},
	"jsonb":       {"null", `"x"`, `{"b": [1.10, null, "\u00fc\"\\"], "a": {}}`, "[]", "1e400", "true"},
	"jsonpath":    {"$", `$."a b"[*] ? (@ > 1 && @.c like_regex "^\\d\"")`, `strict $.x`},
	"xml":         {"", "text", `<a b="c&amp;&quot;">ü<![CDATA[<]]></a>`, "<?xml version=\"1.0\"?><r/>"},
	"uuid":        {"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
	"float4":      {"0", "-0", "1.5", "0.1", "3.4028235e38", "1e-45", "16777216", "NaN", "Infinity", "-Infinity"},
	"float8":      {"0", "-0", "1.5", "0.1", "0.001", "1e7", "1.7976931348623157e308", "5e-324", "9007199254740993", "NaN", "Infinity", "-Infinity"},
	"numeric":     {"0", "-0.00", "1.10", "-1", "127", "-128", "128", "123456789012345678901234567890.12345", "1e131071", "-1e-16383", "NaN", "Infinity", "-Infinity"},
	"money":       {"0", "-0.01", "1234.56", "92233720368547758.07", "-92233720368547758.08"},
	"date":        append([]string{"5874897-12-31"}, dates...),
	"timestamp":   append([]string{"294276-12-31 23:59:59.999999"}, stamps...),
	"timestamptz": append([]string{"2024-02-29 12:34:56.789123+15:59:59", "2024-02-29 12:34:56-05:30"}, stamps...),
	"time":        clocks,
	"timetz":      append([]string{"10:34:56.789+02", "24:00:00-15:59:59", "00:00:00+15:59:59", "12:00:00+05:30:15"}, clocks...),
	"interval": {"0", "1 microsecond", "-1 microsecond", "1 year 2 mons 3 days 04:05:06.789", "-1 mons +2 days -00:00:00.000001", "30 days", "24:00:00",
		"178000000 years", "-178000000 years", "9223372036854775807 microseconds", "infinity", "-infinity"},
	"bit":     {"", "0", "1", "00101", "1000000000", "00000000111111110000000010101010"},
	"varbit":  {"", "0", "1", "00101", "1000000000", "00000000111111110000000010101010"},
	"point":   {"(0,0)", "(1.5,-2)", "(-0,1e300)", "(5e-324,0.1)", "(NaN,Infinity)", "(-Infinity,0)"},
	"lseg":    {"[(0,0),(0,0)]", "[(1.5,-2),(1e300,0.1)]", "[(NaN,Infinity),(-Infinity,0)]"},
	"path":    {"[(1,2)]", "((1,2))", "[(0,0),(1,1),(2,0)]", "((0,0),(1,1),(2,0))", "[(0,0),(1,1),(0,0)]", "((0,0),(1,1),(0,0))", "((NaN,Infinity),(0.1,-0))"},
	"box":     {"(1,1),(0,0)", "(1.5,-2),(-1e300,-3)", "(Infinity,0),(-Infinity,0)"},
	"polygon": {"((1,2))", "((0,0),(1,1))", "((0,0),(1,1),(2,0))", "((0,0),(0,1),(1,1),(1,0))", "((Infinity,0),(1,1),(2,0))"},
	"line":    {"{1,2,3}", "{0,-1,0.5}", "{1e300,5e-324,0}"},
	"circle":  {"<(0,0),0>", "<(1.5,-2),3.25>", "<(0.1,1e300),Infinity>", "<(NaN,0),NaN>"},
	"cidr":    nets, "inet": append([]string{"10.1.2.3", "10.1.2.3/8", "2001:db8::1/64"}, nets...),
	"macaddr":  {"00:00:00:00:00:00", "08:00:2b:01:02:ff"},
	"macaddr8": {"00:00:00:00:00:00:00:00", "08:00:2b:01:02:03:04:ff"},
	"aclitem":  {"postgres=arwdDxtm/postgres", "=r*/postgres", "pg_monitor=/postgres"},
	"pg_lsn":   {"0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"},
	"tsvector": {"", "a", `'a':1A,3 'b':2B 'it''s':4 'back\\slash'`, "'ü' 'x y'"},
	"tsquery":  {"", "a", `!'a':*A & ('b' | 'it''s') <2> 'c'`},

	"regproc": {"-", "pg_backend_pid", `rt."f, n"`, "4294967295"}, "regprocedure": {"-", "lower(text)", `rt."f, n"(integer)`},
	"regoper": {"0", "pg_catalog.||/"}, "regoperator": {"0", "+(integer,integer)", "-(none,numeric)"},
	"regclass": {"-", "pg_class", `rt."odd "" name"`, "4294967295"}, "regtype": {"-", "timestamp with time zone", "integer[]", "rt.mood"},
	"regnamespace": {"-", "pg_catalog", "rt"}, "regrole": {"-", "postgres"}, "regcollation": {"-", `"C"`, `pg_catalog."default"`},
	"regconfig": {"english", "simple"}, "regdictionary": {"simple", "english_stem"},
	"txid_snapshot": {"10:10:", "10:20:10,14,15"}, "pg_snapshot": {"10:10:", "10:20:10,14,15"},

	"int4range": {"empty", "(,)", "[1,10)", "[-2147483648,2147483647)", "(,5)"}, "int8range": {"empty", "(,)", "[-9223372036854775808,9223372036854775807)"},
	"numrange": {"empty", "(,)", "(1.10,NaN]", "[-Infinity,0.00]", "(1,2)"}, "daterange": {"empty", "(,)", `[2024-02-29,infinity)`, `["4714-11-24 BC","0044-03-15 BC")`},
	"tsrange":   {"empty", "(,)", `["2024-02-29 12:34:56.789",infinity]`, `("0044-03-15 12:00:00 BC",)`},
	"tstzrange": {"empty", "(,)", `["2024-02-29 12:34:56.789+02",infinity]`, `("0044-03-15 12:00:00 BC",)`},

	"int4multirange": {"{}", "{[1,2),[5,)}", "{(,)}"}, "int8multirange": {"{}", "{[1,2),[5,9223372036854775807)}"}, "nummultirange": {"{}", "{(1.10,2.0],[3,NaN]}"},
	"datemultirange": {"{}", "{[2024-02-29,2024-03-01),[2025-01-01,infinity)}"}, "tsmultirange": {"{}", `{["2024-02-29 12:34:56.789","2024-03-01 00:00:00"],(infinity,)}`},
	"tstzmultirange": {"{}", `{["2024-02-29 12:34:56.789+02","2024-03-01 00:00:00+00")}`},

	"cardinal_number": {"0", "2147483647"}, "character_data": texts[:12], "sql_identifier": {"", `"x,y"`}, "time_stamp": {"2024-02-29 12:34:56.79+02", "infinity"},
	"yes_or_no": {"YES", "NO"},

	"hstore": {"", `a=>1`, `"k \"q\" \\"=>"v, =>", n=>NULL, "NULL"=>"NULL", ""=>""`, `b=>2, a=>1, c=>3`}, "lo": {"0", "4294967295"},
	"ltree": {"", "Top.Science.Astronomy", "a_1.B-2"}, "lquery": {"*", "Top.*{1,2}.!foo@*%"}, "ltxtquery": {"a & !b@*", "( a | b% ) & c"},
	"cube": {"(0)", "(1.5, -2),(3, 4e300)", "()", "(NaN)"}, "seg": {"1", "1.5 .. 2.50", "~1", "<10 .. ", "-1 .. 1"}, "query_int": {"1", "1&!(2|3)"},
	"ean13": {"978-0-393-04002-9", "123-456789012-8"}, "isbn13": isbns, "isbn": isbns, "upc": {"220356483481"},
	"ismn13": {"979-0-2306-7118-7"}, "ismn": {"979-0-2306-7118-7"}, "issn13": {"977-1436-45200-8"}, "issn": {"1436-4522"},

	"mood": {"sad", "so, so", `"quoted"`, `back\slash`, "", "NULL"}, "moody": {"sad", `"quoted"`}, "price": {"0", "-12.30", "99999999.99", "NaN"}, "discount": {"1.20"},
	"words": {"{}", `{a,NULL,"NULL","x \"y\" \\","{"}`}, "_words": {"{}", `{NULL,"{}","{a,NULL,\"x,y\"}"}`}, // of one dimension: JSON does not tell more from those of the domain
	"pair": {"(,)", `(1,"x ""y"" \\ , ()")`, `(-1,"")`}, "checked": {"(,)", `(5,"x, y")`},
	"nested": {"(,,,,)", `("(1,""a """"b"""" \\\\"")","{""(2,NULL)"",NULL,""(,)""}",1.50,"so, so","""k""=>""v, w""")`},
	"span":   {"empty", "(,)", "[-Infinity,NaN)", "(0.1,1e300]"}, "span_multirange": {"{}", "{(0.1,1.5],[1e300,)}"},
	"letters":            {"empty", "(,)", `["a b","c,""d")`, `("",\\]`, `[{,"}"]`},
	"letters_multirange": {"{}", `{["a b","c,""d"),(z,)}`},
}

// expressions make values of types whose input function takes none; intbig_gkey and its like cannot be
// printed either: they have NULL alone.
var expressions = map[string][]string{
	"pg_node_tree":                 {"(SELECT adbin FROM pg_attrdef LIMIT 1)", "(SELECT ev_action FROM pg_rewrite ORDER BY oid LIMIT 1)"},
	"pg_ndistinct":                 {"(SELECT stxdndistinct FROM pg_statistic_ext_data)"},
	"pg_dependencies":              {"(SELECT stxddependencies FROM pg_statistic_ext_data)"},
	"pg_mcv_list":                  {"(SELECT stxdmcv FROM pg_statistic_ext_data)"},
	"gtsvector":                    {`'\x04000000'::bytea::gtsvector`, `'\x010000000700000008000000'::bytea::gtsvector`},
	"pg_brin_bloom_summary":        {`'\x0000070000010000aa000000'::bytea::pg_brin_bloom_summary`},
	"pg_brin_minmax_multi_summary": {`'\x17000000000000000100000004000000070000000000000000'::bytea::pg_brin_minmax_multi_summary`},
	"intbig_gkey":                  {},
	"ltree_gist":                   {},
	"ghstore":                      {},
}

// declared are column types with modifiers; their samples are those of the type without, as far as the
// modifier admits them.
var declared = []struct {
	name    string
	samples []string
}{
	{"numeric(10,2)", []string{"0", "-0.01", "1.10", "99999999.99", "-99999999.99", "NaN"}},
	{"numeric(38)", []string{"0", "99999999999999999999999999999999999999", "-1"}},
	{"numeric(5,-3)", []string{"12345000", "-1000", "0"}},
	{"numeric(3,6)", []string{"0.000999", "-0.000001"}},
	{"numeric(1000,500)", []string{"1" + strings.Repeat("0", 499) + "." + strings.Repeat("7", 500), "-0.5"}},
	{"numeric(10,2)[]", []string{"{}", "{1.10,NULL,-99999999.99,NaN}", "{{1,2},{3,4}}"}},
	{"char(5)", []string{"", "a", "ab  c", "üüüüü"}},
	{"varchar(3)[]", []string{"{}", `{a,"",NULL,"b\"c"}`}},
	{"bit(1)", []string{"0", "1"}},
	{"bit(8)", []string{"00000000", "00000001", "11111111"}},
	{"bit(17)", []string{"00000000000000000", "10000000000000001", "01000000010000000"}},
	{"bit(9)[]", []string{"{000000001,NULL,100000000}"}},
	{"varbit(1)", []string{"0", "1"}},
	{"time(0)", []string{"00:00:00", "23:59:59", "24:00:00"}},
	{"time(3)", []string{"12:34:56.789", "00:00:00.001"}},
	{"time(3)[]", []string{"{12:34:56.789,NULL}"}},
	{"time(4)", []string{"12:34:56.7891"}},
	{"timestamp(0)", stamps}, {"timestamp(3)", stamps}, {"timestamp(4)", stamps}, {"timestamp(3)[]", []string{"{2024-02-29 12:34:56.789,infinity,NULL}"}},
	{"timestamptz(0)", stamps}, {"timestamptz(3)", stamps},
	{"int4[]", []string{"[0:2]={7,8,9}", "[2:3][0:1]={{1,2},{3,NULL}}"}},
	{"polygon", []string{"((0,0),(1,1),(2,0),(0,0))"}},
	{"rt.price[]", []string{"{}", "{1.20,NULL,-3.50}"}},
	{"rt.mood[]", []string{`{sad,"so, so","\"quoted\"","back\\slash","",NULL,"NULL"}`}},
}
