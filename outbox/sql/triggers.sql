-- ENABLE ALWAYS, because SET session_replication_role = replica must not disable these triggers.
CREATE EVENT TRIGGER pgtee_alter ON ddl_command_start WHEN TAG IN ('ALTER TABLE', 'CREATE INDEX', 'DROP INDEX') EXECUTE FUNCTION pgtee.on_alter();
CREATE EVENT TRIGGER pgtee_drop ON sql_drop EXECUTE FUNCTION pgtee.on_drop();
CREATE EVENT TRIGGER pgtee_ddl ON ddl_command_end EXECUTE FUNCTION pgtee.on_ddl();
ALTER EVENT TRIGGER pgtee_alter ENABLE ALWAYS;
ALTER EVENT TRIGGER pgtee_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER pgtee_ddl ENABLE ALWAYS;
