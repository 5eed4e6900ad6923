-- For one table of the shop, %[1]s: compares the ledger with the events, then the rows with the events folded by key. Both sides are converted to the
-- table's present row type, so that columns that were added later compare as null.
WITH history AS (
    SELECT op, to_jsonb(jsonb_populate_record(null::public.%[1]s, image)) AS image, user_name, application
    FROM ledger.history WHERE tab = '%[1]s'
), events AS (
    SELECT at, op, to_jsonb(jsonb_populate_record(null::public.%[1]s, image)) AS image, user_name, application
    FROM ledger.events WHERE tab = '%[1]s'
), folded AS (
    SELECT image FROM (SELECT DISTINCT ON (image -> 'id') op, image FROM events ORDER BY image -> 'id', at DESC) AS last WHERE op <> 'd'
), present AS (
    SELECT to_jsonb(t) AS image FROM public.%[1]s AS t
), lost AS (
    SELECT op, image FROM history EXCEPT ALL SELECT op, image FROM events
), duplicated AS (
    SELECT op, image FROM events EXCEPT ALL SELECT op, image FROM history
), misattributed AS (
    SELECT op, image, user_name, application FROM events EXCEPT ALL SELECT op, image, user_name, application FROM history
), differing AS (
    (TABLE present EXCEPT ALL TABLE folded) UNION ALL (TABLE folded EXCEPT ALL TABLE present)
)
SELECT (SELECT count(*) FROM events),
       (SELECT count(*) FROM lost) + CASE WHEN EXISTS (TABLE lost) THEN 0 ELSE (SELECT count(*) FROM differing) END,
       (SELECT count(*) FROM duplicated),
       (SELECT count(*) FROM misattributed) - (SELECT count(*) FROM duplicated)
