-- The embedded cache: bytes with an end.

-- name: cache_get
SELECT value FROM rota.cache WHERE key = :key AND expires_at > {now}

-- name: cache_ttl
SELECT expires_at - {now} FROM rota.cache WHERE key = :key AND expires_at > {now}

-- name: cache_put
-- Many values travel as one: lists cannot carry bytes on SQLite, so each row says where in `joined` its value stands.
INSERT INTO rota.cache AS known (key, value, expires_at)
SELECT fresh.key, substr(CAST(:joined AS {bytes}), fresh.first, fresh.size), {now} + CAST(:ttl_ms AS bigint)
  FROM {rows fresh(key text, first integer, size integer)}
 WHERE true
 ORDER BY fresh.key
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at

-- name: cache_delete
DELETE FROM rota.cache WHERE key = :key RETURNING expires_at > {now}

-- name: cache_delete_range
-- Rows in the order of their keys; what is over anyway goes along and is not counted.
DELETE FROM rota.cache
 WHERE key IN (SELECT part.key FROM rota.cache part WHERE part.key >= :first AND part.key < :beyond
                ORDER BY part.key LIMIT :most {lock})
RETURNING expires_at > {now}

-- name: cache_scan
SELECT key FROM rota.cache
 WHERE key >= :first AND key < :beyond AND expires_at > {now}
 ORDER BY key
 LIMIT :most

-- name: cache_size
-- Lengths are read from the rows' heads, the values themselves are not.
SELECT count(*), coalesce(sum(length(part.value)), 0)
  FROM (SELECT cache.value FROM rota.cache cache WHERE cache.expires_at > {now} LIMIT :most) AS part

-- name: cache_sweep
DELETE FROM rota.cache
 WHERE key IN (SELECT past.key FROM rota.cache past WHERE past.expires_at <= {now}
                ORDER BY past.expires_at LIMIT :most {lock skip})
RETURNING key
