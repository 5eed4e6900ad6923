-- Returns the properties of a type ($1, its OID) that determine the form of its values, as JSON; no row if the type does not exist.
SELECT jsonb_build_object('name', t.typname, 'kind', ascii(t.typtype::text), 'base', t.typbasetype::int8, 'typmod', t.typtypmod,
    'element', coalesce(e.oid, 0)::int8, 'delimiter', ascii(coalesce(e.typdelim, ',')::text),
    'labels', coalesce((SELECT string_agg(l.enumlabel, ',' ORDER BY l.enumsortorder) FROM pg_enum AS l WHERE l.enumtypid = t.oid), ''))
FROM pg_type AS t LEFT JOIN pg_type AS e ON e.oid = t.typelem AND t.typsubscript = 'array_subscript_handler'::regproc
WHERE t.oid = $1::oid
