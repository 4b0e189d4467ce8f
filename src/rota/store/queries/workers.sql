-- Workers' leases, the small leases of tick and chores, and whether everything is stopped.

-- name: beat
UPDATE rota.worker SET beat_at = {now}, lease_until = {now} + :lease_ms, running = :running, note = :note
 WHERE incarnation = :worker
RETURNING lease_until

-- name: add_worker
INSERT INTO rota.worker (incarnation, name, kind, version, started_at, beat_at, lease_until, concurrency, queues)
VALUES (:worker, :name, :kind, :version, {now}, {now}, {now} + :lease_ms, :concurrency, :queues)
ON CONFLICT (incarnation) DO UPDATE SET beat_at = excluded.beat_at, lease_until = excluded.lease_until

-- name: drop_worker
DELETE FROM rota.worker WHERE incarnation = :worker

-- name: end_lease
UPDATE rota.worker SET lease_until = {now} - 1 WHERE incarnation = :worker

-- name: held_by
-- What a worker holds, as the store sees it: the difference to what it runs is lost, or was never delivered. A row with
-- id 0 says that everything is stopped.
SELECT id, attempt, cancel FROM rota.turn WHERE worker = :worker AND state = 'running'
UNION ALL
SELECT 0, 0, 0 FROM rota.pause WHERE scope = 'all' AND ended_at IS NULL AND (until IS NULL OR until > {now})

-- name: stopped
-- The emergency stop, if it is on.
SELECT by, reason, since, until FROM rota.pause
 WHERE scope = 'all' AND ended_at IS NULL AND (until IS NULL OR until > {now})

-- name: take_lease
-- Small leases for the tick and the chores: whoever finds it free or over holds it. One that ends more than an hour later
-- than it could was taken before the clock stepped back.
INSERT INTO rota.lease AS known (name, holder, until) VALUES (:name, :holder, {now} + :lease_ms)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
 WHERE known.until < {now} OR known.holder = excluded.holder OR known.until > excluded.until + 3600000
RETURNING until

-- name: lease_left
SELECT until - {now} FROM rota.lease WHERE name = :name

-- name: drop_lease
DELETE FROM rota.lease WHERE name = :name AND holder = :holder

-- name: beat_fused
-- PostgreSQL: extend the lease and say what is held, in one statement; a row with id -1 says that the worker is known.
-- The first part is `move_leases`.
WITH moved AS (
    UPDATE rota.turn AS turn SET leased_until = turn.leased_until + mine.by_ms
      FROM (SELECT turn.id, {now} - worker.beat_at AS by_ms
              FROM rota.worker worker JOIN rota.turn turn ON turn.worker = worker.incarnation AND turn.state = 'running'
             WHERE worker.incarnation = :worker AND worker.lease_until < {now} - 3600000
             ORDER BY turn.id
             {lock of turn}) AS mine
     WHERE turn.id = mine.id AND turn.worker = :worker AND turn.state = 'running'
), beaten AS (
    UPDATE rota.worker SET beat_at = {now}, lease_until = {now} + CAST(:lease_ms AS bigint),
           running = CAST(:running AS integer), note = CAST(:note AS text)
     WHERE incarnation = :worker
    RETURNING 1
)
SELECT -1 AS id, 0 AS attempt, 0 AS cancel FROM beaten
UNION ALL
SELECT id, attempt, cancel FROM rota.turn WHERE worker = :worker AND state = 'running'
UNION ALL
SELECT 0, 0, 0 FROM rota.pause WHERE scope = 'all' AND ended_at IS NULL AND (until IS NULL OR until > {now})

-- name: last_pass
SELECT {now}, (SELECT value FROM rota.meta WHERE name = 'pass_at')
