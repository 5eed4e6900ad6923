-- The default privileges of the role that runs setup must neither grant nor revoke anything here. Privileges that setup or an administrator has granted
-- to roles by name stay.
DO $privileges$
DECLARE
    fresh constant boolean := NOT EXISTS (SELECT FROM pgtee.meta); -- no one can have granted privileges yet
    o record;
BEGIN
    FOR o IN
        SELECT format('ALL ON ROUTINE %s FROM %s', p.oid::regprocedure, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END) AS privileges
        FROM pg_proc AS p CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
        WHERE p.pronamespace = 'pgtee'::regnamespace AND a.grantee <> p.proowner
          AND (fresh OR a.grantee = 0 OR p.proname NOT IN ('publish', 'snapshot', 'snapshot_pause', 'snapshot_resume', 'snapshot_cancel'))
        UNION
        SELECT format('ALL ON %s %s FROM %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
        FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.relnamespace = 'pgtee'::regnamespace AND c.relkind IN ('r', 'v', 'S') AND a.grantee <> c.relowner AND (fresh OR a.grantee = 0)
    LOOP
        EXECUTE 'REVOKE ' || o.privileges;
    END LOOP;
END
$privileges$;
GRANT USAGE ON SCHEMA pgtee TO PUBLIC;
GRANT EXECUTE ON ROUTINE {{public}} TO PUBLIC;
