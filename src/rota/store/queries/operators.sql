-- What operators do to turns, pauses and dead letters, and the record they leave.

-- name: audit
-- One row for each act, in the transaction of the act; nothing changes it before its retention.
INSERT INTO rota.audit (at, by, act, target, count, reason, detail)
VALUES ({now}, :by, :act, :target, :count, :reason, :detail)

-- name: turns_of
-- The turns of a member, all or of one job.
SELECT turn.id FROM rota.turn turn
 WHERE turn.roster = :roster AND turn.member = :member AND (CAST(:job AS text) IS NULL OR turn.job = :job)
 ORDER BY turn.id

-- name: turn_alone
-- The one turn of a scheduled job without a roster.
SELECT turn.id FROM rota.turn turn WHERE turn.job = :job AND turn.member IS NULL AND turn.standing = 1

-- name: turns_for_act
-- What an act must know of its turns, locked in the order of their ids.
SELECT turn.id, turn.job, turn.roster, turn.member, turn.key, turn.standing, turn.state, turn.due_at, turn.slot_at,
       turn.manual, turn.caught, turn.run, turn.attempt, turn.tries, turn.start_at, turn.phase_ms, turn.done,
       turn.failing_since, member.zone, member.data, {now}
  FROM {rows asked(id bigint)}
  JOIN rota.turn turn ON turn.id = asked.id
  LEFT JOIN rota.member member ON member.roster = turn.roster AND member.key = turn.member
 ORDER BY turn.id
{lock of turn}

-- name: act
-- What a turn is after an act. With next_run the current run is over and the next one starts afresh.
UPDATE rota.turn AS turn SET
       state = acts.state, due_at = acts.due_at, slot_at = acts.slot_at, manual = acts.manual, reason = acts.reason,
       caught = acts.caught, waits_for = NULL,
       used_slot_at = CASE WHEN acts.slot_at > turn.slot_at AND turn.slot_at <= {now} THEN turn.slot_at
                           ELSE turn.used_slot_at END,
       run = turn.run + acts.next_run,
       tries = CASE WHEN acts.next_run = 1 THEN 0 ELSE turn.tries END,
       losses = CASE WHEN acts.next_run = 1 THEN 0 ELSE turn.losses END,
       waited_ms = CASE WHEN acts.next_run = 1 THEN 0 ELSE turn.waited_ms END,
       steps = CASE WHEN acts.next_run = 1 THEN NULL ELSE turn.steps END,
       done = CASE WHEN acts.next_run = 1 THEN 0 ELSE turn.done END,
       failed = CASE WHEN acts.next_run = 1 THEN 0 ELSE turn.failed END
  FROM {rows acts(turn_id bigint, state text, due_at bigint, slot_at bigint, manual integer, caught integer,
       next_run integer, reason text)}
 WHERE turn.id = acts.turn_id AND turn.state <> 'running'

-- name: wish_cancel
-- A wish: the worker that runs the attempt learns of it with its next beat.
UPDATE rota.turn SET cancel = 1
 WHERE id IN (SELECT wished.id FROM {rows wished(id bigint)}) AND state = 'running' AND cancel = 0

-- name: drop_idle
DELETE FROM rota.turn WHERE id IN (SELECT gone.id FROM {rows gone(id bigint)}) AND state <> 'running'

-- name: running_turns
-- What runs anywhere, with its worker's name and whether that worker's lease is over.
SELECT turn.id, turn.run, turn.job, turn.roster, turn.member, worker.name, worker.lease_until, {now}
  FROM rota.turn turn LEFT JOIN rota.worker worker ON worker.incarnation = turn.worker
 WHERE turn.state = 'running'
 ORDER BY turn.id
 LIMIT :most

-- name: lock_running
SELECT turn.id FROM rota.turn turn WHERE turn.state = 'running' ORDER BY turn.id {lock of turn}

-- name: active_pauses
-- Every pause that holds now. Members' are left out where only jobs and rosters are asked for.
SELECT pause.scope, pause.name, pause.by, pause.reason, pause.since, pause.until FROM rota.pause pause
 WHERE pause.ended_at IS NULL AND (pause.until IS NULL OR pause.until > {now})
   AND (pause.scope <> 'member' OR pause.name = :member)
 ORDER BY pause.since, pause.id

-- name: close_pause
-- A pause whose time is over is not the one that is asked for now.
UPDATE rota.pause SET ended_at = until
 WHERE scope = :scope AND name = :name AND ended_at IS NULL AND until <= {now}

-- name: put_pause
-- Pausing again changes who, why and until; since stays.
INSERT INTO rota.pause AS known (scope, name, by, reason, since, until)
VALUES (:scope, :name, :by, :reason, {now}, :until)
ON CONFLICT (scope, name) WHERE ended_at IS NULL DO UPDATE SET
       by = excluded.by, reason = excluded.reason, until = excluded.until
RETURNING since

-- name: put_stop
-- Stopping what is stopped changes nothing: who stopped it first stays on record.
INSERT INTO rota.pause AS known (scope, name, by, reason, since, until)
VALUES ('all', '*', :by, :reason, {now}, NULL)
ON CONFLICT (scope, name) WHERE ended_at IS NULL DO NOTHING

-- name: end_pause
-- Says since when it held; `said` and `spread_ms` are what a resume of everything wants made up, and how.
UPDATE rota.pause SET ended_at = {now}, catch_up = :said, spread_ms = :spread_ms
 WHERE scope = :scope AND name = :name AND ended_at IS NULL
RETURNING since

-- name: catch_up_said
-- The resumes of everything that said how to make up for it, newest first: they override the jobs' own policy.
SELECT pause.since, pause.ended_at, pause.catch_up, pause.spread_ms FROM rota.pause pause
 WHERE pause.scope = 'all' AND pause.ended_at > {now} - :within_ms
   AND (pause.catch_up IS NOT NULL OR pause.spread_ms IS NOT NULL)
 ORDER BY pause.ended_at DESC
 LIMIT 20

-- name: mark_member
-- The claim index leaves paused turns out.
UPDATE rota.turn SET paused = :paused
 WHERE id IN (SELECT marked.id FROM {rows marked(id bigint)}) AND paused <> :paused

-- name: dead_by_id
SELECT dead.id, dead.turn, dead.run, dead.job, dead.roster, dead.member, dead.key, dead.args, dead.requeued_at,
       dead.requeued_as, {now}
  FROM rota.dead_letter dead
 WHERE dead.id = :id
{lock}

-- name: dead_by_run
SELECT dead.id, dead.turn, dead.run, dead.job, dead.roster, dead.member, dead.key, dead.args, dead.requeued_at,
       dead.requeued_as, {now}
  FROM rota.dead_letter dead
 WHERE dead.turn = :turn AND dead.run = :run
{lock}

-- name: dead_by_error
SELECT dead.id, dead.turn, dead.run, dead.job, dead.roster, dead.member, dead.key, dead.args, dead.requeued_at,
       dead.requeued_as, {now}
  FROM rota.dead_letter dead
 WHERE dead.error = :error AND dead.requeued_at IS NULL
 ORDER BY dead.id
 LIMIT :most
{lock}

-- name: standing_turns
-- The turns that dead letters of members belong to; a member that left and came back has a new one.
SELECT asked.dead, turn.id
  FROM {rows asked(dead bigint, job text, roster text, member text)}
  JOIN rota.turn turn ON turn.job = asked.job AND turn.roster = asked.roster AND turn.member = asked.member

-- name: lone_turns
SELECT asked.dead, turn.id
  FROM {rows asked(dead bigint, job text)}
  JOIN rota.turn turn ON turn.job = asked.job AND turn.member IS NULL AND turn.standing = 1

-- name: enqueue_again
-- Dead one-offs as new turns; ids are given in the order of the rows.
INSERT INTO rota.turn (job, key, args, standing, due_at, priority, paused)
SELECT fresh.job, fresh.key, fresh.args, 0, fresh.due_at, fresh.priority, 0
  FROM {rows fresh(place integer, job text, key text, args text, due_at bigint, priority integer)}
 ORDER BY fresh.place
RETURNING id

-- name: repoint_keys
-- The key of a dead one-off, if it is still remembered, stands for the new run from here.
UPDATE rota.key AS known SET turn = again.fresh, expires_at = NULL
  FROM {rows again(job text, key text, old bigint, fresh bigint)}
 WHERE known.job = again.job AND known.key = again.key AND known.turn = again.old

-- name: mark_requeued
UPDATE rota.dead_letter AS dead SET requeued_at = {now}, requeued_as = again.run_id
  FROM {rows again(letter bigint, run_id text)}
 WHERE dead.id = again.letter

-- name: all_pauses
SELECT pause.scope, pause.name, pause.by, pause.reason, pause.since, pause.until FROM rota.pause pause
 WHERE pause.ended_at IS NULL AND (pause.until IS NULL OR pause.until > {now})
 ORDER BY pause.since, pause.id
 LIMIT :most
