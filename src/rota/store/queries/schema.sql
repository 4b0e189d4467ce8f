-- Statements about the store itself.

-- name: schema_present
SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :table

-- name: schema_present@postgres
-- There is no sqlite_master. Read as rows: to_regclass may answer from a cache of before the lock that was waited for.
SELECT 1 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE '"' || nspname || '".' || relname = CAST(:table AS text)

-- name: schema_lock
-- The writer is alone on SQLite.
SELECT 1

-- name: schema_lock@postgres
-- Two processes may migrate at once: the second waits, then finds nothing to do. The schema is made first.
SELECT pg_advisory_xact_lock(hashtext('rota schema'))

-- name: partitions
-- PostgreSQL only: the journal's partitions.
SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE nspname = :schema AND relname LIKE 'journal\_%' AND relkind = 'r'

-- name: now
SELECT {now}

-- name: meta
SELECT value FROM rota.meta WHERE name = :name

-- name: put_meta
INSERT INTO rota.meta (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
