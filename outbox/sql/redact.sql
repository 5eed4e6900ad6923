-- redact(given) returns the part of an SQL text that may be kept, without the notes that a proxy inserted: all of it if it contains nothing that may be a
-- credential, otherwise the text without its literals, and nothing if the literals cannot be identified reliably (comments, backslashes, unpaired quotes,
-- bare words after SET). The publisher can parse SQL better, but reads it only from the WAL, where it is already stored. The patterns are those of package
-- parser. A client may turn off standard_conforming_strings, so no literal here contains a backslash.
CREATE OR REPLACE FUNCTION pgtee.redact(given text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $redact$
DECLARE
    sql    text := given;
    plain  text;
    put    text; -- pattern of a note further on in a Query
    hidden text;
BEGIN
    IF strpos(sql, 'pgtee.') > 0 THEN
        put := '/[*][A-Za-z0-9+/=]{128,}[*]/;CALL pgtee[.]put[(]''[0-9]+'',current_user,(true|false),(true|false)[)]';
        sql := regexp_replace(sql, 'SELECT pgtee[.](note|sign)[(]''[A-Za-z0-9+/=]{128,}'',current_user[)];', '', 'g');
        sql := regexp_replace(sql, concat(chr(10), '?;(', put, ';)+'), ';', 'g'); -- one of the semicolons is the client's
        sql := regexp_replace(sql, concat('(', chr(10), '?;)?', put, ';?'), '', 'g');
    END IF;
    IF length(given) >= 65536 THEN -- the text was cut off, perhaps inside a note
        sql := regexp_replace(sql, '/[*]([A-Za-z0-9+/=]{128,}([*](/(;[^;]*)?)?)?|[A-Za-z0-9+/=]*)$', '');
    END IF;
    IF sql !~* concat_ws('|', 'passw', 'passp', 'pwd', 'secret', 'token', 'credential', 'api_?key', 'access_key', 'private.key', 'jwt', 'bearer ', 'crypt', 'hmac', 'account_add',
        'dblink', 'conninfo', '_command', 'program', 'connection', '[[:<:]]options[[:>:]]', 'user[[:space:]]+mapping', 'akia', 'sk_live', 'xoxb-', 'ghp_', '://[^/@]*:[^/@]*@', 'u&["'']')
       AND sql !~ 'eyJ[A-Za-z0-9_-]*[.]' THEN
        RETURN sql;
    END IF;
    IF length(given) >= 65536 OR strpos(sql, chr(92)) > 0 OR strpos(sql, '--') > 0 OR strpos(sql, '/*') > 0 OR sql ~* 'u&["'']' OR sql ~ '"[^"]*''[^"]*"'
       OR sql ~* '[[:<:]]set[[:space:]]+(local[[:space:]]+|session[[:space:]]+)?[^[:space:]=]+[[:space:]]*(=|[[:<:]]to[[:>:]])[[:space:]]*[^''[:space:]]' THEN
        RETURN '<redacted>';
    END IF;
    hidden := '''<redacted>''';
    plain := regexp_replace(sql, concat('([$]([[:alpha:]_][[:alnum:]_]*)?[$]).*?', chr(92), '1'), hidden, 'g'); -- a back-reference to the first group
    IF strpos(plain, '$$') > 0 OR length(replace(plain, '''', '')) % 2 <> length(plain) % 2 THEN
        RETURN '<redacted>';
    END IF;
    plain := regexp_replace(plain, '''([^'']|'''')*''', hidden, 'g');
    RETURN regexp_replace(plain, '[[:<:]]default[[:space:]]*[-+]?[0-9.][0-9a-z.]*', 'DEFAULT ' || hidden, 'gi');
END
$redact$;
