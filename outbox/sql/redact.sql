-- redact(given) returns the part of an SQL text that may be kept: all of it if it contains nothing that may be a credential, otherwise the text
-- without its literals, and nothing if the literals cannot be identified reliably (comments, backslashes, unpaired quotes, bare words after SET). The
-- publisher can parse SQL better, but reads it only from the WAL, where it is already stored. The patterns are those of package parser.
CREATE OR REPLACE FUNCTION pgtee.redact(given text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $redact$
DECLARE
    hidden constant text := '''<redacted>''';
    plain  text := regexp_replace(given, 'pgtee[.](note|sign)[(]''[^'']*''', '', 'g'); -- without the notes that a proxy inserted
BEGIN
    IF plain !~* concat_ws('|', 'passw', 'passp', 'pwd', 'secret', 'token', 'credential', 'api_?key', 'access_key', 'private.key', 'jwt', 'bearer ', 'crypt', 'hmac', 'account_add',
        'dblink', 'conninfo', '_command', 'program', 'connection', '[[:<:]]options[[:>:]]', 'user[[:space:]]+mapping', 'akia', 'sk_live', 'xoxb-', 'ghp_', '://[^/@]*:[^/@]*@', 'u&["'']')
       AND plain !~ 'eyJ[A-Za-z0-9_-]*[.]' THEN
        RETURN given;
    END IF;
    IF length(given) >= 65536 OR strpos(given, chr(92)) > 0 OR strpos(given, '--') > 0 OR strpos(given, '/*') > 0 OR given ~* 'u&["'']' OR given ~ '"[^"]*''[^"]*"'
       OR given ~* '[[:<:]]set[[:space:]]+(local[[:space:]]+|session[[:space:]]+)?[^[:space:]=]+[[:space:]]*(=|[[:<:]]to[[:>:]])[[:space:]]*[^''[:space:]]' THEN
        RETURN '<redacted>';
    END IF;
    plain := regexp_replace(given, concat('([$]([[:alpha:]_][[:alnum:]_]*)?[$]).*?', chr(92), '1'), hidden, 'g'); -- a back-reference to the first group
    IF strpos(plain, '$$') > 0 OR length(replace(plain, '''', '')) % 2 <> length(plain) % 2 THEN
        RETURN '<redacted>';
    END IF;
    plain := regexp_replace(plain, '''([^'']|'''')*''', hidden, 'g');
    RETURN regexp_replace(plain, '[[:<:]]default[[:space:]]*[-+]?[0-9.][0-9a-z.]*', 'DEFAULT ' || hidden, 'gi');
END
$redact$;
