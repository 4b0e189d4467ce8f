-- Limits, cool-downs, batches, serial keys and caps by key: what a careful claim reads and writes.

-- name: survey
-- PostgreSQL: the first due turns of each lane, locked but not yet changed, as a claim would return them; those that were
-- promised room a little later too.
WITH lanes AS MATERIALIZED (
    SELECT asked.job, asked.lease_ms, asked.room, lane.priority
      FROM {rows asked(job text, roster text, lease_ms bigint, room bigint)}
      JOIN rota.lane lane ON lane.job = asked.job
     WHERE asked.room > 0
       AND NOT EXISTS (SELECT 1 FROM rota.pause pause
                        WHERE pause.ended_at IS NULL AND (pause.until IS NULL OR pause.until > {now})
                          AND (pause.scope = 'all' OR (pause.scope = 'job' AND pause.name = asked.job)
                               OR (pause.scope = 'roster' AND pause.name = asked.roster)))
       AND NOT EXISTS (SELECT 1 FROM rota.gate gate JOIN rota.bucket bucket ON bucket.scope = gate.scope
                        WHERE gate.job = asked.job AND bucket.closed_until > {now})
), seen AS MATERIALIZED (
    SELECT first.*, lanes.lease_ms
      FROM lanes CROSS JOIN LATERAL (
           SELECT turn.* FROM rota.turn turn
            WHERE turn.job = lanes.job AND turn.priority = lanes.priority AND turn.state = 'waiting' AND turn.paused = 0
              AND turn.due_at <= {now} + CAST(:early_ms AS bigint)
              AND (turn.due_at <= {now} OR turn.waits_for LIKE 'limit %')
              AND (turn.due_at <= CAST(:cutoff_at AS bigint) OR turn.waits_for IS NOT NULL)
            ORDER BY turn.due_at, turn.id
            LIMIT lanes.room
            {lock skip}) AS first
)
SELECT seen.id, seen.job, seen.roster, seen.member, seen.key, seen.args, seen.standing, seen.due_at, seen.slot_at,
       seen.priority, seen.manual, seen.caught, seen.run, seen.attempt + 1, seen.tries + 1, seen.losses, seen.waited_ms,
       seen.phase_ms, CASE WHEN seen.tries = 0 AND seen.caught < 2 THEN seen.start_at ELSE seen.prior_start_at END,
       CASE WHEN seen.tries = 0 AND seen.caught < 2 THEN {now} ELSE seen.start_at END,
       0, seen.failed, seen.steps, {now} + seen.lease_ms, {now},
       member.zone, member.data, member.owner, member.weight, seen.waits_for
  FROM seen LEFT JOIN rota.member member ON member.roster = seen.roster AND member.key = seen.member

-- name: survey_lane
-- The same for one lane, where one writer is alone.
SELECT turn.id, turn.job, turn.roster, turn.member, turn.key, turn.args, turn.standing, turn.due_at, turn.slot_at,
       turn.priority, turn.manual, turn.caught, turn.run, turn.attempt + 1, turn.tries + 1, turn.losses, turn.waited_ms,
       turn.phase_ms, CASE WHEN turn.tries = 0 AND turn.caught < 2 THEN turn.start_at ELSE turn.prior_start_at END,
       CASE WHEN turn.tries = 0 AND turn.caught < 2 THEN {now} ELSE turn.start_at END,
       0, turn.failed, turn.steps, {now} + :lease_ms, {now},
       member.zone, member.data, member.owner, member.weight, turn.waits_for
  FROM rota.turn turn LEFT JOIN rota.member member ON member.roster = turn.roster AND member.key = turn.member
 WHERE turn.job = :job AND turn.priority = :priority AND turn.state = 'waiting' AND turn.paused = 0
   AND turn.due_at <= {now} + :early_ms AND (turn.due_at <= {now} OR turn.waits_for LIKE 'limit %')
   AND (turn.due_at <= :cutoff_at OR turn.waits_for IS NOT NULL)
 ORDER BY turn.due_at, turn.id
 LIMIT :most

-- name: take
-- What a careful claim has let start.
UPDATE rota.turn AS turn SET
       state = 'running', worker = :worker, done = 0, attempt = turn.attempt + 1, tries = turn.tries + 1,
       leased_until = picked.leased_until, waits_for = NULL,
       prior_start_at = CASE WHEN turn.tries = 0 AND turn.caught < 2 THEN turn.start_at ELSE turn.prior_start_at END,
       start_at = CASE WHEN turn.tries = 0 AND turn.caught < 2 THEN picked.claimed_at ELSE turn.start_at END
  FROM {rows picked(id bigint, leased_until bigint, claimed_at bigint)}
 WHERE turn.id = picked.id AND turn.state = 'waiting'

-- name: wait
-- What a careful claim found no room for: the instant at which it has some, and what it waits for.
UPDATE rota.turn AS turn SET due_at = later.due_at, waits_for = later.waits_for
  FROM {rows later(id bigint, due_at bigint, waits_for text)}
 WHERE turn.id = later.id AND turn.state = 'waiting'

-- name: defer
-- What a careful claim puts off for a catch-up, before anything was changed.
UPDATE rota.turn AS turn SET
       due_at = back.due_at, slot_at = back.slot_at, caught = back.caught, waits_for = NULL,
       used_slot_at = CASE WHEN back.slot_at > turn.slot_at AND back.slot_at > {now} THEN {now}
                           WHEN back.slot_at > turn.slot_at THEN back.slot_at - 1 ELSE turn.used_slot_at END
  FROM {rows back(id bigint, due_at bigint, slot_at bigint, caught integer)}
 WHERE turn.id = back.id AND turn.state = 'waiting'

-- name: buckets
-- Some buckets, locked in the order of their names.
SELECT bucket.scope, bucket.tat_ns, bucket.line_ns, bucket.cooling_until, bucket.failures, bucket.closed_until, bucket.probing, {now},
       CASE WHEN bucket.rate_until IS NULL OR bucket.rate_until > {now} THEN bucket.rate END, bucket.burst
  FROM rota.bucket bucket
  JOIN {rows asked(scope text)} ON asked.scope = bucket.scope
 ORDER BY bucket.scope {lock of bucket}

-- name: make_buckets
INSERT INTO rota.bucket (scope, changed_at)
SELECT asked.scope, {now} FROM {rows asked(scope text)} WHERE true
ON CONFLICT (scope) DO NOTHING

-- name: put_buckets
UPDATE rota.bucket AS bucket SET
       tat_ns = changed.tat_ns, line_ns = changed.line_ns, cooling_until = changed.cooling_until,
       probing = changed.probing, closed_until = changed.closed_until, changed_at = {now}
  FROM {rows changed(scope text, tat_ns bigint, line_ns bigint, cooling_until bigint, probing integer, closed_until bigint)}
 WHERE bucket.scope = changed.scope

-- name: learned_gates
SELECT gate.job, gate.scope FROM {rows asked(job text)} JOIN rota.gate gate ON gate.job = asked.job AND gate.learned = 1

-- name: add_gates
INSERT INTO rota.gate (job, scope, learned)
SELECT asked.job, asked.scope, asked.learned FROM {rows asked(job text, scope text, learned integer)} WHERE true
ON CONFLICT (job, scope) DO NOTHING

-- name: declare_gates
-- What was learned and is declared now is declared.
UPDATE rota.gate AS gate SET learned = 0
  FROM {rows asked(job text, scope text)}
 WHERE gate.job = asked.job AND gate.scope = asked.scope AND gate.learned = 1

-- name: drop_gates
-- Scopes that jobs declared and declare no more.
DELETE FROM rota.gate
 WHERE learned = 0 AND job IN (SELECT known.job FROM {rows known(job text, scope text)})
   AND (job, scope) NOT IN (SELECT known.job, known.scope FROM {rows known(job text, scope text)})

-- name: running_members
-- What runs of some jobs, with what a cap's key is made of.
SELECT turn.job, turn.id, turn.args, turn.member, member.data, member.owner
  FROM {rows asked(job text)}
  JOIN rota.turn turn ON turn.job = asked.job AND turn.state = 'running'
  LEFT JOIN rota.member member ON member.roster = turn.roster AND member.key = turn.member

-- name: serial_holders
-- Which turns hold some keys (those still at the run that took the key), and whether any wait for them. A run whose
-- member has another key since, and that waits for that one, holds none: two that changed places would wait for ever.
SELECT asked.key,
       (SELECT turn.id FROM rota.serial serial JOIN rota.turn turn ON turn.id = serial.turn AND turn.run = serial.run
         WHERE serial.key = asked.key AND coalesce(turn.waits_for, '') NOT LIKE 'serial %'),
       (SELECT max(turn.due_at) FROM rota.turn turn
         WHERE turn.waits_for = 'serial ' || asked.key AND turn.state = 'waiting')
  FROM {rows asked(key text)}

-- name: hold_serials
-- Take keys for runs; what comes back is ours. A second claimer waits here for the first, then finds its row.
INSERT INTO rota.serial AS known (key, turn, run)
SELECT asked.key, asked.turn, asked.run FROM {rows asked(key text, turn bigint, run integer)}
 WHERE true
 ORDER BY asked.key
    ON CONFLICT (key) DO UPDATE SET turn = excluded.turn, run = excluded.run
 WHERE known.turn = excluded.turn
    OR NOT EXISTS (SELECT 1 FROM rota.turn turn WHERE turn.id = known.turn AND turn.run = known.run
                      AND coalesce(turn.waits_for, '') NOT LIKE 'serial %')
RETURNING key, turn

-- name: rouse
-- An end that others wait for: the first of them, or as many as there are places now, are due.
UPDATE rota.turn SET due_at = {now}
 WHERE id IN (SELECT first.id FROM (
                  SELECT turn.id, freed.places, row_number() OVER (PARTITION BY turn.waits_for ORDER BY turn.due_at, turn.id) AS place
                    FROM {rows freed(waits_for text, places integer)} CROSS JOIN rota.turn turn
                   WHERE turn.waits_for = freed.waits_for AND turn.state = 'waiting' AND turn.due_at > {now}
              ) AS first WHERE first.place <= first.places)

-- name: rouse@postgres
-- Whoever comes here holds jobs and buckets and must wait for no turn: an end has locked these before, and what others
-- hold is theirs to judge. The array keeps the index plan: joined, 20,000 turns were read to find one.
UPDATE rota.turn SET due_at = {now}
 WHERE id = ANY (ARRAY(
       SELECT free.id FROM rota.turn free
        WHERE free.id = ANY (ARRAY(
              SELECT first.id FROM {rows freed(waits_for text, places integer)} CROSS JOIN LATERAL (
                     SELECT turn.id FROM rota.turn turn
                      WHERE turn.waits_for = freed.waits_for AND turn.state = 'waiting' AND turn.due_at > {now}
                      ORDER BY turn.due_at, turn.id LIMIT freed.places) AS first))
        {lock skip}))
   AND state = 'waiting'

-- name: put_cooled
-- Scopes that cool, or work again (failures 0).
UPDATE rota.bucket AS bucket SET
       cooling_until = hot.cooling_until, closed_until = hot.closed_until, failures = hot.failures, probing = 0,
       reason = hot.reason, tat_ns = hot.tat_ns, line_ns = hot.line_ns, changed_at = {now}
  FROM {rows hot(scope text, cooling_until bigint, closed_until bigint, failures integer, reason text, tat_ns bigint,
       line_ns bigint)}
 WHERE bucket.scope = hot.scope

-- name: close_batch
-- A batch is on its way: nothing more of the job is looked at until its last run has ended, or could not have lived on.
INSERT INTO rota.bucket (scope, closed_until, changed_at)
SELECT asked.scope, {now} + asked.lease_ms, {now} FROM {rows asked(scope text, lease_ms bigint)} WHERE true
ON CONFLICT (scope) DO UPDATE SET closed_until = excluded.closed_until, changed_at = excluded.changed_at

-- name: rest_batch
-- The pause of a batch begins when its last run has ended; its bucket may be forgotten, if that took more than a day.
INSERT INTO rota.bucket (scope, closed_until, changed_at)
SELECT ended.scope, {now} + ended.pause_ms, {now}
  FROM {rows ended(job text, scope text, pause_ms bigint)}
 WHERE NOT EXISTS (SELECT 1 FROM rota.turn turn WHERE turn.job = ended.job AND turn.state = 'running')
ON CONFLICT (scope) DO UPDATE SET closed_until = excluded.closed_until, changed_at = excluded.changed_at

-- name: cooling
-- What cools now, or has cooled and nobody has shown since that it works.
SELECT bucket.scope, bucket.cooling_until - {now}, bucket.failures, bucket.reason, bucket.probing
  FROM rota.bucket bucket
 WHERE bucket.failures > 0
 ORDER BY bucket.cooling_until DESC
 LIMIT :most

-- name: say_rate
-- A rate said at run time. What was closed for want of room is looked at again.
INSERT INTO rota.bucket AS known (scope, rate, burst, rate_until, rate_by, changed_at)
VALUES (:scope, CAST(:rate AS text), CAST(:burst AS integer), {now} + CAST(:lasts_ms AS bigint), :by, {now})
ON CONFLICT (scope) DO UPDATE SET
       rate = excluded.rate, burst = excluded.burst, rate_until = excluded.rate_until, rate_by = excluded.rate_by,
       closed_until = known.cooling_until, changed_at = excluded.changed_at

-- name: bucket_rows
-- Buckets in the order of their names, from one on.
SELECT bucket.scope, bucket.tat_ns, bucket.line_ns, bucket.cooling_until, bucket.failures, bucket.probing,
       bucket.closed_until, bucket.reason,
       CASE WHEN bucket.rate_until IS NULL OR bucket.rate_until > {now} THEN bucket.rate END, bucket.burst,
       bucket.rate_until, bucket.rate_by, bucket.changed_at, {now}
  FROM rota.bucket bucket
 WHERE bucket.scope >= :first AND bucket.scope < :beyond
 ORDER BY bucket.scope
 LIMIT :most

-- name: buckets_named
SELECT bucket.scope, bucket.tat_ns, bucket.line_ns, bucket.cooling_until, bucket.failures, bucket.probing,
       bucket.closed_until, bucket.reason,
       CASE WHEN bucket.rate_until IS NULL OR bucket.rate_until > {now} THEN bucket.rate END, bucket.burst,
       bucket.rate_until, bucket.rate_by, bucket.changed_at, {now}
  FROM {rows asked(scope text)} JOIN rota.bucket bucket ON bucket.scope = asked.scope

-- name: buckets_cooling
-- What cools now, or has cooled and nobody has shown since that it works.
SELECT bucket.scope, bucket.tat_ns, bucket.line_ns, bucket.cooling_until, bucket.failures, bucket.probing,
       bucket.closed_until, bucket.reason,
       CASE WHEN bucket.rate_until IS NULL OR bucket.rate_until > {now} THEN bucket.rate END, bucket.burst,
       bucket.rate_until, bucket.rate_by, bucket.changed_at, {now}
  FROM rota.bucket bucket
 WHERE bucket.failures > 0
 ORDER BY bucket.cooling_until DESC, bucket.scope
 LIMIT :most

-- name: waiting_for
-- What turns wait for, other than their time: few, as each of them was looked at by a claim.
SELECT turn.waits_for, count(*), min(turn.due_at), max(turn.due_at)
  FROM rota.turn turn
 WHERE turn.waits_for IS NOT NULL AND turn.state = 'waiting'
 GROUP BY turn.waits_for
 ORDER BY count(*) DESC, turn.waits_for
 LIMIT :most

-- name: first_waiting
-- The first turn that waits for each of some things: one look into the index for each.
SELECT asked.waits_for, turn.id, turn.run, turn.job, turn.roster, turn.member, turn.due_at,
       CASE WHEN turn.manual = 0 THEN turn.slot_at END
  FROM {rows asked(waits_for text)}
  JOIN rota.turn turn ON turn.id = (SELECT first.id FROM rota.turn first
                                     WHERE first.waits_for = asked.waits_for AND first.state = 'waiting'
                                     ORDER BY first.due_at, first.id LIMIT 1)

-- name: waits_of
-- What some turns wait for, and how many wait for the same before them, counted no further than :most.
SELECT turn.id, turn.waits_for,
       (SELECT count(*) FROM (SELECT 1 FROM rota.turn earlier
                               WHERE earlier.waits_for = turn.waits_for AND earlier.state = 'waiting'
                                 AND (earlier.due_at < turn.due_at
                                      OR (earlier.due_at = turn.due_at AND earlier.id < turn.id))
                               LIMIT :most) AS few)
  FROM {rows asked(id bigint)} JOIN rota.turn turn ON turn.id = asked.id
 WHERE turn.state = 'waiting' AND turn.waits_for IS NOT NULL

-- name: closed_jobs
-- Which scopes keep which jobs from being looked at, now or a moment ago; a claim may be on its way.
SELECT gate.job, gate.scope, bucket.closed_until
  FROM rota.gate gate JOIN rota.bucket bucket ON bucket.scope = gate.scope
 WHERE bucket.closed_until > {now} - CAST(:moment_ms AS bigint)
 ORDER BY gate.job, bucket.closed_until DESC, gate.scope
 LIMIT :most

-- name: gates_of
-- The jobs that some scopes close as a whole.
SELECT gate.job, gate.scope, gate.learned FROM {rows asked(scope text)} JOIN rota.gate gate ON gate.scope = asked.scope

-- name: due_behind
-- How many turns of some jobs are due and were not yet looked at, counted no further than :most, and since when the first.
SELECT asked.job,
       (SELECT count(*) FROM (SELECT 1 FROM rota.lane lane CROSS JOIN rota.turn turn
                               WHERE lane.job = asked.job AND turn.job = lane.job AND turn.priority = lane.priority
                                 AND turn.state = 'waiting' AND turn.paused = 0 AND turn.due_at <= {now}
                                 AND turn.waits_for IS NULL LIMIT :most) AS few),
       (SELECT min((SELECT turn.due_at FROM rota.turn turn
                     WHERE turn.job = lane.job AND turn.priority = lane.priority AND turn.state = 'waiting'
                       AND turn.paused = 0 AND turn.due_at IS NOT NULL AND turn.due_at <= {now} AND turn.waits_for IS NULL
                     ORDER BY turn.due_at LIMIT 1))
          FROM rota.lane lane WHERE lane.job = asked.job)
  FROM {rows asked(job text)}

-- name: serial_runs
-- The runs that hold some keys, as `serial_holders` says it.
SELECT serial.key, turn.id, turn.run, turn.job, turn.state, turn.due_at
  FROM {rows asked(key text)}
  JOIN rota.serial serial ON serial.key = asked.key
  JOIN rota.turn turn ON turn.id = serial.turn AND turn.run = serial.run AND coalesce(turn.waits_for, '') NOT LIKE 'serial %'

-- name: waiting_run
-- A run that has not started, by its turn and number.
SELECT turn.id, turn.job, turn.due_at FROM rota.turn turn
 WHERE turn.id = :turn AND turn.run = :run AND turn.state = 'waiting' AND turn.paused = 0

-- name: rejudge
-- What waits for room gets in line anew: its place was promised at another rate.
UPDATE rota.turn SET due_at = {now}, waits_for = NULL
 WHERE id IN (SELECT turn.id FROM {rows asked(waits_for text)} CROSS JOIN rota.turn turn
               WHERE turn.waits_for = asked.waits_for AND turn.state = 'waiting')

-- name: rejudge@postgres
-- The same without a wait: what a claim holds is judged by it as soon as the bucket is free. As with `rouse`.
UPDATE rota.turn SET due_at = {now}, waits_for = NULL
 WHERE id = ANY (ARRAY(SELECT turn.id FROM {rows asked(waits_for text)}
                         JOIN rota.turn turn ON turn.waits_for = asked.waits_for AND turn.state = 'waiting'
                       {lock of turn skip}))
   AND state = 'waiting'

-- name: prune_buckets
-- Buckets that say nothing any more: full again, cooled long ago, no rate of their own. The condition is repeated for
-- a row that a claim changed while this waited for it.
DELETE FROM rota.bucket
 WHERE scope IN (SELECT idle.scope FROM rota.bucket idle
                  WHERE idle.changed_at < {now} - CAST(:keep_ms AS bigint) AND idle.rate IS NULL
                    AND idle.line_ns < {now} * 1000000 AND idle.tat_ns < {now} * 1000000
                    AND idle.cooling_until < {now} AND idle.closed_until < {now}
                  LIMIT :most)
   AND changed_at < {now} - CAST(:keep_ms AS bigint) AND rate IS NULL
RETURNING scope

-- name: prune_gates
-- Scopes that jobs were refused under, and that have not cooled for long: what is refused again is learned again.
DELETE FROM rota.gate
 WHERE learned = 1 AND (job, scope) IN (
       SELECT idle.job, idle.scope
         FROM rota.gate idle LEFT JOIN rota.bucket bucket ON bucket.scope = idle.scope
        WHERE idle.learned = 1
          AND (bucket.scope IS NULL
               OR (bucket.cooling_until < {now} - CAST(:keep_ms AS bigint) AND bucket.closed_until < {now}))
          AND NOT EXISTS (SELECT 1 FROM rota.turn turn
                           WHERE turn.waits_for = 'scope ' || idle.scope AND turn.state = 'waiting')
        LIMIT :most)
RETURNING scope

-- name: serial_page
-- The last of the next :most keys after one.
SELECT max(page.key) FROM (SELECT held.key FROM rota.serial held WHERE held.key > :after
                            ORDER BY held.key LIMIT :most) AS page

-- name: prune_serials
-- Of a page of keys those whose run is over; asked again of a key that a claim took while this waited for it.
DELETE FROM rota.serial AS serial
 WHERE key IN (SELECT held.key FROM rota.serial held
                WHERE held.key > :after AND held.key <= :upto
                  AND NOT EXISTS (SELECT 1 FROM rota.turn turn WHERE turn.id = held.turn AND turn.run = held.run))
   AND NOT EXISTS (SELECT 1 FROM rota.turn turn WHERE turn.id = serial.turn AND turn.run = serial.run)
RETURNING key
