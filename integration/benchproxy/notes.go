package main

// notesSQL creates what noteScripts use.
const notesSQL = `
CREATE TABLE written (n integer);
CREATE FUNCTION reads() RETURNS integer LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
CREATE FUNCTION writes() RETURNS integer LANGUAGE plpgsql VOLATILE AS 'BEGIN INSERT INTO public.written VALUES (1); RETURN 1; END';
CREATE PROCEDURE stores() LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.written VALUES (1); END'`

// noteScripts have a script of pgbench for each kind of note. A script is one transaction; its name begins with the number of its statements that get
// a note.
var noteScripts = map[string]string{
	"0-select-reads":    "SELECT reads();\n",
	"1-insert":          "INSERT INTO written VALUES (1);\n",
	"1-do":              "DO 'BEGIN INSERT INTO public.written VALUES (1); END';\n",
	"1-call":            "CALL stores();\n",
	"1-select-writes":   "SELECT writes();\n",
	"4-insert-block":    "BEGIN;\nINSERT INTO written VALUES (1);\nINSERT INTO written VALUES (2);\nINSERT INTO written VALUES (3);\nINSERT INTO written VALUES (4);\nEND;\n",
	"4-call-block":      "BEGIN;\nCALL stores();\nSELECT writes();\nCALL stores();\nSELECT writes();\nEND;\n",
	"4-insert-in-query": "INSERT INTO written VALUES (1)\\; INSERT INTO written VALUES (2)\\; INSERT INTO written VALUES (3)\\; INSERT INTO written VALUES (4);\n",
}
