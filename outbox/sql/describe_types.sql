-- What the form of values of types ($1, an array of their OIDs) stands on, as JSON. The form of a table's own row type is that of its text.
SELECT t.oid, jsonb_build_object('name', t.typname, 'kind', ascii(t.typtype::text), 'base', t.typbasetype::int8, 'typmod', t.typtypmod,
    'element', coalesce(e.oid, 0)::int8, 'delimiter', ascii(coalesce(e.typdelim, ',')::text),
    'labels', coalesce((SELECT string_agg(l.enumlabel, ',' ORDER BY l.enumsortorder) FROM pg_enum AS l WHERE l.enumtypid = t.oid), ''))
FROM pg_type AS t LEFT JOIN pg_type AS e ON e.oid = t.typelem AND t.typsubscript = 'array_subscript_handler'::regproc
WHERE t.oid = ANY ($1::oid[])
