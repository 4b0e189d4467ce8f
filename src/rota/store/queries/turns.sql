-- The way of a turn: enqueue, claim, settle, lose.
-- States in a WHERE are literals, so that both planners can use the partial indexes.

-- name: add_lanes
INSERT INTO rota.lane (job, priority)
SELECT fresh.job, fresh.priority FROM {rows fresh(job text, priority integer)} WHERE true
ON CONFLICT (job, priority) DO NOTHING

-- name: enqueue
-- One-offs. Rows come in the caller's order and ids are given in that order.
INSERT INTO rota.turn (job, key, args, standing, due_at, priority, paused)
SELECT fresh.job, fresh.key, fresh.args, 0, coalesce(fresh.due_at, {now} + fresh.delay_ms), fresh.priority, 0
  FROM {rows fresh(place integer, job text, key text, args text, due_at bigint, delay_ms bigint, priority integer)}
 ORDER BY fresh.place
RETURNING id

-- name: keys
-- What stands for keys that could not be reserved: whether they are still remembered was decided there, once, as the
-- clock goes on between two statements.
SELECT key.job, key.key, key.turn
  FROM {rows asked(job text, key text)}
  JOIN rota.key key ON key.job = asked.job AND key.key = asked.key

-- name: reserve_keys
-- Takes a key for nobody yet (turn 0); a second transaction waits here for the first, then finds its row.
INSERT INTO rota.key AS known (job, key, turn, remember_ms)
SELECT asked.job, asked.key, 0, asked.remember_ms
  FROM {rows asked(job text, key text, remember_ms bigint)}
 ORDER BY asked.job, asked.key
    ON CONFLICT (job, key) DO UPDATE SET turn = 0, remember_ms = excluded.remember_ms, expires_at = NULL
 WHERE known.expires_at IS NOT NULL AND known.expires_at <= {now}
RETURNING job, key

-- name: reserve_keys@sqlite
-- SQLite wants a WHERE between SELECT and ON CONFLICT.
INSERT INTO rota.key AS known (job, key, turn, remember_ms)
SELECT asked.job, asked.key, 0, asked.remember_ms
  FROM {rows asked(job text, key text, remember_ms bigint)}
 WHERE true
 ORDER BY asked.job, asked.key
    ON CONFLICT (job, key) DO UPDATE SET turn = 0, remember_ms = excluded.remember_ms, expires_at = NULL
 WHERE known.expires_at IS NOT NULL AND known.expires_at <= {now}
RETURNING job, key

-- name: name_keys
UPDATE rota.key AS known SET turn = named.turn
  FROM {rows named(job text, key text, turn bigint)}
 WHERE known.job = named.job AND known.key = named.key AND known.turn = 0

-- name: free_keys
-- The run has ended: from here its key is remembered for as long as was asked. Locked in the order of keys, as an
-- enqueue locks them.
UPDATE rota.key AS known SET expires_at = {now} + known.remember_ms
  FROM (SELECT key.job, key.key
          FROM {rows ended(job text, key text, turn bigint)}
          JOIN rota.key key ON key.job = ended.job AND key.key = ended.key AND key.turn = ended.turn
         ORDER BY key.job, key.key
         {lock}) AS mine
 WHERE known.job = mine.job AND known.key = mine.key

-- name: lanes
-- The (job, priority) pairs of the jobs asked for that nothing pauses.
SELECT lane.job, lane.priority
  FROM {rows asked(job text, roster text)}
  JOIN rota.lane lane ON lane.job = asked.job
 WHERE NOT EXISTS (SELECT 1 FROM rota.pause pause
                    WHERE pause.ended_at IS NULL AND (pause.until IS NULL OR pause.until > {now})
                      AND (pause.scope = 'all' OR (pause.scope = 'job' AND pause.name = asked.job)
                           OR (pause.scope = 'roster' AND pause.name = asked.roster)))
   AND NOT EXISTS (SELECT 1 FROM rota.gate gate JOIN rota.bucket bucket ON bucket.scope = gate.scope
                    WHERE gate.job = asked.job
                      AND (bucket.closed_until > {now} OR (bucket.failures > 0 AND :careful = 0)))
 ORDER BY lane.priority, lane.job

-- name: heads
-- The first due turns of one lane.
SELECT id, priority, due_at FROM rota.turn
 WHERE job = :job AND priority = :priority AND state = 'waiting' AND paused = 0
   AND due_at <= {now} AND due_at <= :cutoff_at
 ORDER BY due_at, id
 LIMIT :most

-- name: claim_lane
-- Takes the first due turns of one lane. SQLite: the writer is alone, so nothing has to be skipped.
UPDATE rota.turn SET
       state = 'running', worker = :worker, done = 0, waits_for = NULL, attempt = attempt + 1, tries = tries + 1,
       leased_until = {now} + :lease_ms,
       prior_start_at = CASE WHEN tries = 0 AND caught < 2 THEN start_at ELSE prior_start_at END,
       start_at = CASE WHEN tries = 0 AND caught < 2 THEN {now} ELSE start_at END
 WHERE id IN (SELECT id FROM rota.turn
               WHERE job = :job AND priority = :priority AND state = 'waiting' AND paused = 0
                 AND due_at <= {now} AND due_at <= :cutoff_at
               ORDER BY due_at, id
               LIMIT :most)
RETURNING id, job, roster, member, key, args, standing, due_at, slot_at, priority, manual, caught, run, attempt, tries,
          losses, waited_ms, phase_ms, prior_start_at, start_at, done, failed, steps, leased_until, {now}

-- name: claim@postgres
-- PostgreSQL: all lanes in one statement, rows others hold are skipped, pauses are read in the same statement.
-- Measured against one statement for each lane: 9 jobs of which one has work, 5 times as fast. The array and the member
-- looked up row by row keep the plan to what was picked, whatever the statistics; the UPDATE answers by itself, so that
-- no row is copied twice.
WITH lanes AS MATERIALIZED (
    SELECT asked.job, asked.lease_ms, asked.room, lane.priority
      FROM {rows asked(job text, roster text, lease_ms bigint, room bigint)}
      JOIN rota.lane lane ON lane.job = asked.job
     WHERE NOT EXISTS (SELECT 1 FROM rota.pause pause
                        WHERE pause.ended_at IS NULL AND (pause.until IS NULL OR pause.until > {now})
                          AND (pause.scope = 'all' OR (pause.scope = 'job' AND pause.name = asked.job)
                               OR (pause.scope = 'roster' AND pause.name = asked.roster)))
       AND NOT EXISTS (SELECT 1 FROM rota.gate gate JOIN rota.bucket bucket ON bucket.scope = gate.scope
                        WHERE gate.job = asked.job AND (bucket.closed_until > {now} OR bucket.failures > 0))
), picked AS MATERIALIZED (
    SELECT first.id, first.roster, first.member, lanes.lease_ms
      FROM lanes CROSS JOIN LATERAL (
           SELECT turn.id, turn.priority, turn.due_at, turn.roster, turn.member FROM rota.turn turn
            WHERE turn.job = lanes.job AND turn.priority = lanes.priority AND turn.state = 'waiting' AND turn.paused = 0
              AND turn.due_at <= {now} AND turn.due_at <= CAST(:cutoff_at AS bigint)
            ORDER BY turn.due_at, turn.id
            LIMIT least(CAST(:most AS bigint), lanes.room)
            {lock skip}) AS first
     ORDER BY first.priority, first.due_at, first.id
     LIMIT CAST(:most AS bigint)
), known AS MATERIALIZED (
    SELECT picked.id, picked.lease_ms, member.zone, member.data, member.owner, member.weight
      FROM picked LEFT JOIN LATERAL (
           SELECT one.zone, one.data, one.owner, one.weight FROM rota.member one
            WHERE one.roster = picked.roster AND one.key = picked.member
            LIMIT 1) AS member ON true
)
UPDATE rota.turn AS turn SET
       state = 'running', worker = :worker, done = 0, waits_for = NULL, attempt = turn.attempt + 1, tries = turn.tries + 1,
       leased_until = {now} + known.lease_ms,
       prior_start_at = CASE WHEN turn.tries = 0 AND turn.caught < 2 THEN turn.start_at ELSE turn.prior_start_at END,
       start_at = CASE WHEN turn.tries = 0 AND turn.caught < 2 THEN {now} ELSE turn.start_at END
  FROM known WHERE turn.id = ANY (ARRAY(SELECT picked.id FROM picked)) AND turn.id = known.id
RETURNING turn.id, turn.job, turn.roster, turn.member, turn.key, turn.args, turn.standing, turn.due_at, turn.slot_at,
          turn.priority, turn.manual, turn.caught, turn.run, turn.attempt, turn.tries, turn.losses, turn.waited_ms,
          turn.phase_ms, turn.prior_start_at, turn.start_at, turn.done, turn.failed, turn.steps, turn.leased_until, {now},
          known.zone, known.data, known.owner, known.weight

-- name: members_of
-- The members of some turns, by turn.
SELECT asked.id, member.zone, member.data, member.owner, member.weight
  FROM {rows asked(id bigint, roster text, member text)}
  JOIN rota.member member ON member.roster = asked.roster AND member.key = asked.member

-- name: next_due
-- In how many ms the next turn of these jobs comes up, by the store's clock: so long may an idle worker sleep.
SELECT min(CASE WHEN soon.open_at > soon.due_at THEN soon.open_at ELSE soon.due_at END) - {now} FROM (
    SELECT (SELECT max(bucket.closed_until) FROM rota.gate gate JOIN rota.bucket bucket ON bucket.scope = gate.scope
             WHERE gate.job = lane.job) AS open_at,
           (SELECT turn.due_at FROM rota.turn turn
             WHERE turn.job = lane.job AND turn.priority = lane.priority AND turn.state = 'waiting' AND turn.paused = 0
               AND turn.due_at IS NOT NULL
             ORDER BY turn.due_at LIMIT 1) AS due_at
      FROM {rows asked(job text, roster text)}
      JOIN rota.lane lane ON lane.job = asked.job
     WHERE NOT EXISTS (SELECT 1 FROM rota.pause pause
                        WHERE pause.ended_at IS NULL AND (pause.until IS NULL OR pause.until > {now})
                          AND (pause.scope = 'all' OR (pause.scope = 'job' AND pause.name = asked.job)
                               OR (pause.scope = 'roster' AND pause.name = asked.roster)))
) AS soon

-- name: glance
-- What an idle worker asks once a poll, in one statement: when the next turn comes up, whether an attempt may be lost (its
-- worker's lease is over, or began an hour ahead: the clock stepped back), whether a pause is over.
SELECT (SELECT min(CASE WHEN soon.open_at > soon.due_at THEN soon.open_at ELSE soon.due_at END) - {now} FROM (
            SELECT (SELECT max(bucket.closed_until) FROM rota.gate gate JOIN rota.bucket bucket ON bucket.scope = gate.scope
                     WHERE gate.job = lane.job) AS open_at,
                   (SELECT turn.due_at FROM rota.turn turn
                     WHERE turn.job = lane.job AND turn.priority = lane.priority AND turn.state = 'waiting'
                       AND turn.paused = 0 AND turn.due_at IS NOT NULL
                     ORDER BY turn.due_at LIMIT 1) AS due_at
              FROM {rows asked(job text, roster text)}
              JOIN rota.lane lane ON lane.job = asked.job
             WHERE NOT EXISTS (SELECT 1 FROM rota.pause pause
                                WHERE pause.ended_at IS NULL AND (pause.until IS NULL OR pause.until > {now})
                                  AND (pause.scope = 'all' OR (pause.scope = 'job' AND pause.name = asked.job)
                                       OR (pause.scope = 'roster' AND pause.name = asked.roster)))) AS soon),
       EXISTS (SELECT 1 FROM rota.turn turn
                WHERE turn.state = 'running'
                  AND (turn.leased_until < {now}
                       OR NOT EXISTS (SELECT 1 FROM rota.worker worker
                                       WHERE worker.incarnation = turn.worker AND worker.lease_until >= {now}
                                         AND worker.beat_at <= {now} + 3600000))),
       EXISTS (SELECT 1 FROM rota.pause pause WHERE pause.ended_at IS NULL AND pause.until <= {now})

-- name: lock_jobs
-- The rows a cap is kept by: locked in the order of their names, before what runs is counted.
SELECT job.name FROM rota.job job
  JOIN {rows asked(name text)} ON asked.name = job.name
 ORDER BY job.name {lock of job}

-- name: running_of
SELECT asked.name, (SELECT count(*) FROM rota.turn turn WHERE turn.job = asked.name AND turn.state = 'running')
  FROM {rows asked(name text)}

-- name: put_back
-- Undoes a claim inside the transaction that made it: catch-up, cool-off. The attempt was never seen by anyone.
-- used_slot_at: what was passed over stays so; of a slot still to come, nothing later than now is used up.
UPDATE rota.turn AS turn SET
       state = 'waiting', worker = NULL, leased_until = NULL, tries = turn.tries - 1, attempt = turn.attempt - 1,
       start_at = CASE WHEN turn.tries = 1 AND turn.caught < 2 THEN turn.prior_start_at ELSE turn.start_at END,
       due_at = back.due_at, slot_at = back.slot_at, caught = back.caught,
       used_slot_at = CASE WHEN back.slot_at > turn.slot_at AND back.slot_at > {now} THEN {now}
                           WHEN back.slot_at > turn.slot_at THEN back.slot_at - 1 ELSE turn.used_slot_at END
  FROM {rows back(id bigint, due_at bigint, slot_at bigint, caught integer)}
 WHERE turn.id = back.id AND turn.state = 'running'

-- name: mark_slot
-- A claimed turn runs for a newer slot than it waited for.
UPDATE rota.turn AS turn SET slot_at = newer.slot_at, used_slot_at = newer.slot_at - 1
  FROM {rows newer(id bigint, slot_at bigint)}
 WHERE turn.id = newer.id AND turn.state = 'running'

-- name: settle
-- The end of attempts whose turn goes on. Guarded by turn, attempt and incarnation: what comes back was accepted.
-- due_at: a given instant, or now + delay_ms; fresh_ms is set on success only. That it runs need not be asked: it has a
-- worker (CHECK); asking would draw the planner to the index of running turns, which is mostly dead entries under load.
UPDATE rota.turn AS turn SET
       state = ends.state, worker = NULL, leased_until = NULL, cancel = 0, manual = ends.manual, caught = ends.caught,
       due_at = CASE WHEN ends.delay_ms IS NULL THEN ends.due_at ELSE {now} + ends.delay_ms END,
       slot_at = ends.slot_at,
       used_slot_at = CASE WHEN ends.slot_at > turn.slot_at THEN turn.slot_at ELSE turn.used_slot_at END,
       run = turn.run + ends.next_run, tries = ends.tries, losses = ends.losses, waited_ms = ends.waited_ms,
       steps = CASE WHEN ends.next_run = 1 THEN NULL ELSE turn.steps END,
       reason = ends.reason,
       result = coalesce(ends.result, turn.result),
       last_success_at = CASE WHEN ends.fresh_ms IS NULL THEN turn.last_success_at ELSE {now} END,
       stale_at = CASE WHEN ends.fresh_ms IS NULL THEN turn.stale_at ELSE {now} + ends.fresh_ms END,
       failing_since = CASE WHEN ends.fresh_ms IS NOT NULL THEN NULL
                            WHEN ends.error IS NULL THEN turn.failing_since
                            ELSE coalesce(turn.failing_since, {now}) END,
       error = CASE WHEN ends.fresh_ms IS NOT NULL THEN NULL ELSE coalesce(ends.error, turn.error) END
  FROM {rows ends(turn_id bigint, attempt integer, worker text, state text, due_at bigint, delay_ms bigint, slot_at bigint,
       next_run integer, tries integer, losses integer, waited_ms bigint, manual integer, caught integer,
       fresh_ms bigint, error text, reason text, result text)}
 WHERE turn.id = ends.turn_id AND turn.attempt = ends.attempt AND turn.worker = ends.worker
RETURNING id, on_end

-- name: finish
-- The end of one-offs: the row goes. Guarded the same way.
DELETE FROM rota.turn
 WHERE id IN (SELECT turn.id FROM {rows ends(id bigint, attempt integer, worker text)}
                JOIN rota.turn turn ON turn.id = ends.id
               WHERE turn.attempt = ends.attempt AND turn.worker = ends.worker AND turn.state = 'running')
RETURNING id

-- name: finish@postgres
-- The array keeps the index plan, whatever the statistics say: 4 µs a row where a join took 26 at 500 rows and 46 at
-- 1,000; the list is hashed and checked again after a lock, so a row that a reaper took meanwhile stays.
DELETE FROM rota.turn
 WHERE id = ANY (ARRAY(SELECT ends.id FROM {rows ends(id bigint, attempt integer, worker text)}))
   AND (id, attempt, worker) IN (SELECT ends.id, ends.attempt, ends.worker
                                   FROM {rows ends(id bigint, attempt integer, worker text)})
RETURNING id

-- name: write_journal
INSERT INTO rota.journal (turn, run, attempt, job, roster, member, slot_at, due_at, started_at, ended_at, worker, outcome,
                          reason, link, error, slots)
SELECT lines.turn, lines.run, lines.attempt, lines.job, lines.roster, lines.member, lines.slot_at, lines.due_at,
       lines.started_at, {now}, lines.worker, lines.outcome, lines.reason, lines.link, lines.error, lines.slots
  FROM {rows lines(turn bigint, run integer, attempt integer, job text, roster text, member text, slot_at bigint,
       due_at bigint, started_at bigint, worker text, outcome text, reason text, link text, error text, slots integer)}

-- name: add_rollup
INSERT INTO rota.rollup AS known (job, hour_at, worker, runs, succeeded, retry, dead, skipped, other, busy_ms, late_ms)
SELECT sums.job, {now} - {now} % 3600000, :worker, sums.runs, sums.succeeded, sums.retry, sums.dead, sums.skipped,
       sums.other, sums.busy_ms, sums.late_ms
  FROM {rows sums(job text, runs bigint, succeeded bigint, retry bigint, dead bigint, skipped bigint, other bigint,
       busy_ms bigint, late_ms bigint)}
 WHERE true
 ORDER BY sums.job
    ON CONFLICT (job, hour_at, worker) DO UPDATE SET
       runs = known.runs + excluded.runs, succeeded = known.succeeded + excluded.succeeded,
       retry = known.retry + excluded.retry, dead = known.dead + excluded.dead,
       skipped = known.skipped + excluded.skipped, other = known.other + excluded.other,
       busy_ms = known.busy_ms + excluded.busy_ms, late_ms = known.late_ms + excluded.late_ms

-- name: add_errors
INSERT INTO rota.error AS known (job, fingerprint, kind, message, place, traceback, first_at, last_at, count, turn, run)
SELECT seen.job, seen.fingerprint, seen.kind, seen.message, seen.place, seen.traceback, {now}, {now}, seen.count, seen.turn,
       seen.run
  FROM {rows seen(job text, fingerprint text, kind text, message text, place text, traceback text, count bigint,
       turn bigint, run integer)}
 WHERE true
 ORDER BY seen.job, seen.fingerprint
    ON CONFLICT (job, fingerprint) DO UPDATE SET
       message = excluded.message, traceback = excluded.traceback, last_at = excluded.last_at,
       count = known.count + excluded.count, turn = excluded.turn, run = excluded.run

-- name: add_dead_letters
INSERT INTO rota.dead_letter (turn, run, job, roster, member, key, args, slot_at, tries, losses, reason, error, died_at)
SELECT gone.turn, gone.run, gone.job, gone.roster, gone.member, gone.key, gone.args, gone.slot_at, gone.tries, gone.losses,
       gone.reason, gone.error, {now}
  FROM {rows gone(turn bigint, run integer, job text, roster text, member text, key text, args text, slot_at bigint,
       tries integer, losses integer, reason text, error text)}

-- name: turns_by_id
SELECT turn.id, turn.job, turn.roster, turn.member, turn.key, turn.args, turn.standing, turn.due_at, turn.slot_at,
       turn.priority, turn.manual, turn.caught, turn.run, turn.attempt, turn.tries, turn.losses, turn.waited_ms,
       turn.phase_ms, turn.prior_start_at, turn.start_at, turn.done, turn.failed, turn.steps, turn.leased_until, {now},
       member.zone, member.data, member.owner, member.weight, turn.worker, turn.on_end
  FROM {rows asked(id bigint)}
  JOIN rota.turn turn ON turn.id = asked.id
  LEFT JOIN rota.member member ON member.roster = turn.roster AND member.key = turn.member

-- name: retire
-- Turns whose member left while they ran.
DELETE FROM rota.turn WHERE id IN (SELECT gone.id FROM {rows gone(id bigint)}) AND state <> 'running'

-- name: quiet_times
-- Pauses that have ended since an instant, and the last time the engine itself was away.
SELECT scope, name, since, ended_at, catch_up, spread_ms FROM rota.pause WHERE ended_at > :since
UNION ALL
SELECT 'engine', '*', CAST(gone.value AS bigint), CAST(back.value AS bigint), NULL, NULL
  FROM rota.meta gone JOIN rota.meta back ON back.name = 'back_at'
 WHERE gone.name = 'gone_at' AND CAST(back.value AS bigint) > :since

-- name: settled_before
-- Which of some attempts have their row in the journal already, and not because they were lost: asked after an answer
-- was lost.
SELECT journal.turn
  FROM {rows asked(turn bigint, attempt integer, worker text)}
  JOIN rota.journal journal ON journal.turn = asked.turn AND journal.attempt = asked.attempt AND journal.worker = asked.worker
 WHERE journal.outcome <> 'lost' AND (journal.outcome <> 'dead' OR journal.reason <> 'poison')

-- name: put_steps
-- Checkpoints of a run, fenced like every write of an attempt.
UPDATE rota.turn SET steps = :steps
 WHERE id = :turn AND attempt = :attempt AND worker = :worker AND state = 'running'
RETURNING id

-- name: put_progress
UPDATE rota.turn SET progress = :progress
 WHERE id = :turn AND attempt = :attempt AND worker = :worker AND state = 'running'
RETURNING id

-- name: due_now
-- `rota tick --now`: what is scheduled in the selection is due now, as if by hand; its slots stay.
UPDATE rota.turn AS turn SET due_at = {now}, manual = CASE WHEN turn.slot_at > {now} THEN 1 ELSE turn.manual END
  FROM {rows asked(name text)}
 WHERE turn.job = asked.name AND turn.standing = 1 AND turn.state = 'waiting' AND turn.due_at > {now}

-- name: due_count
-- How many turns of some jobs are due and not paused; lane by lane and in the order of the index, so that a plan made
-- before the instants are known does not read those that are not due.
SELECT CAST(coalesce(sum((
           SELECT count(*) FROM (
                  SELECT 1 FROM rota.turn turn
                   WHERE turn.job = lane.job AND turn.priority = lane.priority AND turn.state = 'waiting' AND turn.paused = 0
                     AND turn.due_at IS NOT NULL AND turn.due_at <= {now} AND turn.due_at <= CAST(:cutoff_at AS bigint)
                   ORDER BY turn.due_at, turn.id
                   LIMIT 1000000000) AS due)), 0) AS bigint)
  FROM {rows asked(job text, roster text)}
  JOIN rota.lane lane ON lane.job = asked.job
 WHERE NOT EXISTS (SELECT 1 FROM rota.pause pause
                    WHERE pause.ended_at IS NULL AND (pause.until IS NULL OR pause.until > {now})
                      AND (pause.scope = 'all' OR (pause.scope = 'job' AND pause.name = asked.job)
                           OR (pause.scope = 'roster' AND pause.name = asked.roster)))

-- name: scheduled_count
-- What `rota tick --now` would run of one job.
SELECT count(*) FROM rota.turn WHERE job = :job AND standing = 1 AND state = 'waiting' AND paused = 0 AND due_at IS NOT NULL

-- name: journal_well
-- The journal rows of simple successes, read from the turns while they still run; the lock keeps a reaper away until
-- the end itself is written.
INSERT INTO rota.journal (turn, run, attempt, job, roster, member, slot_at, due_at, started_at, ended_at, worker, outcome)
SELECT turn.id, turn.run, turn.attempt, turn.job, turn.roster, turn.member,
       CASE WHEN turn.manual = 1 THEN NULL ELSE turn.slot_at END, turn.due_at, ends.started_at, {now}, turn.worker, 'succeeded'
  FROM {rows ends(turn_id bigint, attempt integer, worker text, started_at bigint)}
  JOIN rota.turn turn ON turn.id = ends.turn_id AND turn.attempt = ends.attempt AND turn.worker = ends.worker
{lock of turn}

-- name: settle_well
-- A standing turn that simply succeeded waits for its next slot.
UPDATE rota.turn AS turn SET
       state = 'waiting', worker = NULL, leased_until = NULL, cancel = 0, manual = 0, caught = 0,
       due_at = ends.next_at, slot_at = ends.next_at,
       used_slot_at = CASE WHEN ends.next_at > turn.slot_at THEN turn.slot_at ELSE turn.used_slot_at END,
       run = turn.run + 1, tries = 0, losses = 0, waited_ms = 0,
       steps = NULL, progress = NULL, reason = NULL, failing_since = NULL, error = NULL,
       last_success_at = {now}, stale_at = {now} + ends.fresh_ms
  FROM {rows ends(turn_id bigint, attempt integer, worker text, next_at bigint, fresh_ms bigint)}
 WHERE turn.id = ends.turn_id AND turn.attempt = ends.attempt AND turn.worker = ends.worker
RETURNING id, on_end

-- name: settle_fused@postgres
-- PostgreSQL: the same with its journal row and the sums of its hour, in one statement and without a second lock; ten
-- short arrays where the two statements for any end take thirty-three. The array keeps the plan to the turns that end,
-- whatever the statistics.
WITH ends AS MATERIALIZED (
    SELECT * FROM {rows given(turn_id bigint, fence integer, holder text, next_at bigint, fresh_ms bigint,
                              began_at bigint, busy_ms bigint, was_slot_at bigint, was_due_at bigint, kept boolean)}
), done AS (
    UPDATE rota.turn AS turn SET
           state = 'waiting', worker = NULL, leased_until = NULL, cancel = 0, manual = 0, caught = 0,
           due_at = ends.next_at, slot_at = ends.next_at,
           used_slot_at = CASE WHEN ends.next_at > turn.slot_at THEN turn.slot_at ELSE turn.used_slot_at END,
           run = turn.run + 1, tries = 0, losses = 0, waited_ms = 0,
           steps = NULL, progress = NULL, reason = NULL, failing_since = NULL, error = NULL,
           last_success_at = {now}, stale_at = {now} + ends.fresh_ms
      FROM ends WHERE turn.id = ANY (ARRAY(SELECT one.turn_id FROM ends one))
       AND turn.id = ends.turn_id AND turn.attempt = ends.fence AND turn.worker = ends.holder
    RETURNING turn.id, turn.run - 1 AS run, turn.attempt, turn.job, turn.roster, turn.member, turn.on_end, ends.holder,
              ends.began_at, ends.busy_ms, ends.was_slot_at, ends.was_due_at, ends.kept
), written AS (
    INSERT INTO rota.journal (turn, run, attempt, job, roster, member, slot_at, due_at, started_at, ended_at, worker, outcome)
    SELECT id, run, attempt, job, roster, member, was_slot_at, was_due_at, began_at, {now}, holder, 'succeeded'
      FROM done WHERE kept
), summed AS (
    INSERT INTO rota.rollup AS known (job, hour_at, worker, runs, succeeded, busy_ms, late_ms)
    SELECT job, {now} - {now} % 3600000, holder, count(*), count(*), sum(busy_ms), sum(greatest(began_at - was_due_at, 0))
      FROM done GROUP BY job, holder ORDER BY job
        ON CONFLICT (job, hour_at, worker) DO UPDATE SET
           runs = known.runs + excluded.runs, succeeded = known.succeeded + excluded.succeeded,
           busy_ms = known.busy_ms + excluded.busy_ms, late_ms = known.late_ms + excluded.late_ms
)
SELECT id, on_end FROM done

-- name: finish_fused@postgres
-- PostgreSQL: one-offs that simply succeeded go, and leave their journal row and sums, in one statement.
WITH ends AS MATERIALIZED (
    SELECT * FROM {rows given(turn_id bigint, fence integer, holder text, began_at bigint, busy_ms bigint, kept boolean)}
), done AS (
    DELETE FROM rota.turn turn USING ends
     WHERE turn.id = ANY (ARRAY(SELECT one.turn_id FROM ends one))
       AND turn.id = ends.turn_id AND turn.attempt = ends.fence AND turn.worker = ends.holder
    RETURNING turn.id, turn.run, turn.attempt, turn.job, turn.due_at AS was_due_at, ends.holder, ends.began_at, ends.busy_ms,
              ends.kept
), written AS (
    INSERT INTO rota.journal (turn, run, attempt, job, due_at, started_at, ended_at, worker, outcome)
    SELECT id, run, attempt, job, was_due_at, began_at, {now}, holder, 'succeeded' FROM done WHERE kept
), summed AS (
    INSERT INTO rota.rollup AS known (job, hour_at, worker, runs, succeeded, busy_ms, late_ms)
    SELECT job, {now} - {now} % 3600000, holder, count(*), count(*), sum(busy_ms), sum(greatest(began_at - was_due_at, 0))
      FROM done GROUP BY job, holder ORDER BY job
        ON CONFLICT (job, hour_at, worker) DO UPDATE SET
           runs = known.runs + excluded.runs, succeeded = known.succeeded + excluded.succeeded,
           busy_ms = known.busy_ms + excluded.busy_ms, late_ms = known.late_ms + excluded.late_ms
)
SELECT id FROM done
