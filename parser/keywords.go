package parser

import "strings"

// isWord reports whether a token is this keyword, given in capitals.
func (l *lexer) isWord(t token, keyword string) bool {
	return t.kind == word && t.end-t.start == len(keyword) && equalFold(l.sql[t.start:t.end], keyword)
}

// equalFold reports whether text equals a word in capitals of the same length, ignoring case.
func equalFold(text []byte, capitals string) bool {
	for i, c := range text {
		if upper(c) != capitals[i] {
			return false
		}
	}
	return true
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 0x20
	}
	return c
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 0x20
	}
	return c
}

// wordSet is a set of words in capitals with lookups that do not allocate. The value of a word is the word itself.
type wordSet map[string]string

func newWordSet(lists ...string) wordSet {
	set := wordSet{}
	for _, list := range lists {
		for _, w := range strings.Fields(list) {
			set[w] = w
		}
	}
	return set
}

// find returns text in capitals if it is in the set, else "".
func (s wordSet) find(text []byte) string {
	var buf [64]byte
	if len(text) > len(buf) {
		return ""
	}
	for i, c := range text {
		buf[i] = upper(c)
	}
	return s[string(buf[:len(text)])]
}

// keywords are the words that determine what a statement does.
var keywords = newWordSet(`
ABORT ACCESS AGGREGATE ALL ALTER ANALYSE ANALYZE AND AS AUTHORIZATION BEGIN BINARY CALL CAST CHAIN CHARACTERISTICS CHECKPOINT
CLASS CLIENT_ENCODING CLOSE CLUSTER COLLATION COMMENT COMMIT CONCURRENTLY CONFIGURATION CONSTRAINT CONSTRAINTS CONVERSION COPY
CREATE DATA DATABASE DEALLOCATE DECLARE DEFAULT DELETE DETACH DICTIONARY DISCARD DO DOMAIN DROP END EVENT EXECUTE EXPLAIN
EXTENSION FALSE FAMILY FETCH FOREIGN FROM FUNCTION GLOBAL GRANT GROUP IMPORT INDEX INSERT INTO LABEL LANGUAGE LARGE LISTEN LOAD
LOCAL LOCK MAPPING MATERIALIZED MERGE METHOD MOVE NAMES NO NOTIFY OBJECT OFF OPERATOR OR OWNED PARSER PARTITION POLICY PREPARE
PREPARED PRIVILEGES PROCEDURAL PROCEDURE PUBLICATION REASSIGN RECURSIVE REFRESH REINDEX RELEASE REPACK REPLACE RESET REVOKE ROLE
ROLLBACK ROUTINE RULE SAVEPOINT SCHEMA SEARCH SECURITY SELECT SEQUENCE SERVER SESSION SESSION_AUTHORIZATION SET SHOW START
STATISTICS SUBSCRIPTION SYSTEM TABLE TABLESPACE TEMP TEMPLATE TEMPORARY TEXT TO TRANSACTION TRANSFORM TRIGGER TRUNCATE TRUSTED
TYPE UNIQUE UNLISTEN UNLOGGED UPDATE USER VACUUM VALUES VIEW WITH WORK WRAPPER`)
