-- What keeps the store small and its figures current. Each statement takes a bounded number of rows.

-- name: prune_journal
-- SQLite: ids rise with time, so the oldest rows are the first ones.
DELETE FROM rota.journal
 WHERE ended_at < {now} - :keep_ms AND id IN (SELECT aged.id FROM rota.journal aged ORDER BY aged.id LIMIT :most)
RETURNING id

-- name: prune_journal@postgres
-- Days are dropped as partitions; only what fell between the days is deleted row by row.
DELETE FROM rota.journal_rest
 WHERE id IN (SELECT aged.id FROM rota.journal_rest aged WHERE aged.ended_at < {now} - CAST(:keep_ms AS bigint) LIMIT :most)
RETURNING id

-- name: prune_dead
DELETE FROM rota.dead_letter
 WHERE id IN (SELECT aged.id FROM rota.dead_letter aged WHERE aged.died_at < {now} - CAST(:keep_ms AS bigint)
               ORDER BY aged.died_at LIMIT :most)
RETURNING id

-- name: prune_dead@postgres
-- The array keeps a plan that knows neither instant nor number to its index: 100 rows of 100,000 were joined with all.
DELETE FROM rota.dead_letter
 WHERE id = ANY (ARRAY(SELECT aged.id FROM rota.dead_letter aged WHERE aged.died_at < {now} - CAST(:keep_ms AS bigint)
                        ORDER BY aged.died_at LIMIT :most))
RETURNING id

-- name: prune_errors
DELETE FROM rota.error
 WHERE (job, fingerprint) IN (SELECT aged.job, aged.fingerprint FROM rota.error aged
                               WHERE aged.last_at < {now} - CAST(:keep_ms AS bigint) LIMIT :most)
RETURNING job

-- name: prune_rollups
DELETE FROM rota.rollup
 WHERE (job, hour_at, worker) IN (SELECT aged.job, aged.hour_at, aged.worker FROM rota.rollup aged
                                   WHERE aged.hour_at < {now} - CAST(:keep_ms AS bigint) ORDER BY aged.hour_at LIMIT :most)
RETURNING job

-- name: prune_audit
DELETE FROM rota.audit
 WHERE id IN (SELECT aged.id FROM rota.audit aged WHERE aged.at < {now} - CAST(:keep_ms AS bigint) ORDER BY aged.at LIMIT :most)
RETURNING id

-- name: prune_keys
-- A key expires as long after the end of its run as was asked, never before.
DELETE FROM rota.key
 WHERE (job, key) IN (SELECT aged.job, aged.key FROM rota.key aged
                       WHERE aged.expires_at <= {now} ORDER BY aged.expires_at LIMIT :most)
   AND expires_at <= {now}
RETURNING job

-- name: prune_keys@postgres
-- By place in the table, as the key is two columns; for the reason of dead letters. A key that was taken anew meanwhile
-- lies in another place.
DELETE FROM rota.key
 WHERE ctid = ANY (ARRAY(SELECT aged.ctid FROM rota.key aged
                          WHERE aged.expires_at <= {now} ORDER BY aged.expires_at LIMIT :most))
   AND expires_at <= {now}
RETURNING job

-- name: prune_pauses
DELETE FROM rota.pause
 WHERE id IN (SELECT aged.id FROM rota.pause aged WHERE aged.ended_at < {now} - CAST(:keep_ms AS bigint)
               ORDER BY aged.ended_at LIMIT :most)
RETURNING id

-- name: prune_workers
-- A lost worker stays visible for a while, and as long as it holds anything: its row says whether it beats.
DELETE FROM rota.worker
 WHERE lease_until < {now} - CAST(:keep_ms AS bigint)
   AND NOT EXISTS (SELECT 1 FROM rota.turn turn WHERE turn.worker = incarnation AND turn.state = 'running')
RETURNING incarnation

-- name: rollups_to_fold
-- Rows of finished hours whose worker is gone. A row with sketches stays: they are not sums.
SELECT aged.job, aged.hour_at, aged.worker, aged.runs, aged.succeeded, aged.retry, aged.dead, aged.skipped, aged.other, aged.busy_ms,
       aged.late_ms
  FROM rota.rollup aged
 WHERE aged.hour_at < {now} - 3600000 AND aged.worker <> '' AND aged.durations IS NULL AND aged.delays IS NULL
   AND NOT EXISTS (SELECT 1 FROM rota.worker worker WHERE worker.incarnation = aged.worker AND worker.lease_until >= {now})
 ORDER BY aged.job, aged.hour_at, aged.worker
 LIMIT :most
{lock skip}

-- name: drop_rollups
DELETE FROM rota.rollup
 WHERE (job, hour_at, worker) IN (SELECT folded.job, folded.hour_at, folded.worker
                                    FROM {rows folded(job text, hour_at bigint, worker text)})

-- name: add_folded
INSERT INTO rota.rollup AS known (job, hour_at, worker, runs, succeeded, retry, dead, skipped, other, busy_ms, late_ms)
SELECT sums.job, sums.hour_at, '', sums.runs, sums.succeeded, sums.retry, sums.dead, sums.skipped, sums.other,
       sums.busy_ms, sums.late_ms
  FROM {rows sums(job text, hour_at bigint, runs bigint, succeeded bigint, retry bigint, dead bigint, skipped bigint,
       other bigint, busy_ms bigint, late_ms bigint)}
 WHERE true
 ORDER BY sums.job, sums.hour_at
    ON CONFLICT (job, hour_at, worker) DO UPDATE SET
       runs = known.runs + excluded.runs, succeeded = known.succeeded + excluded.succeeded,
       retry = known.retry + excluded.retry, dead = known.dead + excluded.dead,
       skipped = known.skipped + excluded.skipped, other = known.other + excluded.other,
       busy_ms = known.busy_ms + excluded.busy_ms, late_ms = known.late_ms + excluded.late_ms

-- name: end_pauses
-- Pauses whose time is over, each ended at the instant that was said.
UPDATE rota.pause SET ended_at = until
 WHERE id IN (SELECT past.id FROM rota.pause past WHERE past.ended_at IS NULL AND past.until <= {now}
               ORDER BY past.id LIMIT :most {lock})
RETURNING scope, name

-- name: turns_of_members
SELECT turn.id FROM {rows asked(roster text, member text)}
  JOIN rota.turn turn ON turn.roster = asked.roster AND turn.member = asked.member
 ORDER BY turn.id
{lock of turn}

-- name: put_freshness
INSERT INTO rota.freshness AS known (roster, job, members, fresh, late, stale, new, paused, oldest_at, counted_at)
SELECT counted.roster, counted.job, counted.members, counted.fresh, counted.late, counted.stale, counted.new,
       counted.paused, counted.oldest_at, {now}
  FROM {rows counted(roster text, job text, members bigint, fresh bigint, late bigint, stale bigint, new bigint,
       paused bigint, oldest_at bigint)}
 WHERE true
 ORDER BY counted.roster, counted.job
    ON CONFLICT (roster, job) DO UPDATE SET
       members = excluded.members, fresh = excluded.fresh, late = excluded.late, stale = excluded.stale,
       new = excluded.new, paused = excluded.paused, oldest_at = excluded.oldest_at, counted_at = excluded.counted_at

-- name: drop_freshness
DELETE FROM rota.freshness WHERE roster = :roster AND job NOT IN (SELECT kept.job FROM {rows kept(job text)})

-- name: put_tallies
INSERT INTO rota.tally AS known (job, due, coming, waiting, held, dead, looked, causes, counted_at)
SELECT counted.job, counted.due, counted.coming, counted.waiting, counted.held, counted.dead, counted.looked,
       counted.causes, {now}
  FROM {rows counted(job text, due bigint, coming bigint, waiting bigint, held bigint, dead bigint, looked bigint,
       causes text)}
 WHERE true
 ORDER BY counted.job
    ON CONFLICT (job) DO UPDATE SET
       due = excluded.due, coming = excluded.coming, waiting = excluded.waiting, held = excluded.held,
       dead = excluded.dead, looked = excluded.looked, causes = excluded.causes, counted_at = excluded.counted_at

-- name: drop_tallies
DELETE FROM rota.tally WHERE job NOT IN (SELECT kept.job FROM {rows kept(job text)})
