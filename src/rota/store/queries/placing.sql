-- What rosters do to turns: placing, moving, parting; the loads of slots; jobs as they were declared.

-- name: jobs_of_roster
SELECT job.name, job.signature, job.era FROM rota.job job WHERE job.roster = :roster

-- name: reopen_jobs
-- Somebody joined through a process that does not place these jobs: reconcile has to look again.
UPDATE rota.job SET reconciled = NULL
 WHERE reconciled IS NOT NULL AND name IN (SELECT asked.name FROM {rows asked(name text)})

-- name: slots_of
SELECT slot.job, slot.slot, slot.load, slot.placed
  FROM {rows asked(job text)}
  JOIN rota.slot slot ON slot.job = asked.job

-- name: put_slots
INSERT INTO rota.slot (job, slot, load, placed)
SELECT fresh.job, fresh.slot, fresh.load, fresh.placed
  FROM {rows fresh(job text, slot integer, load bigint, placed bigint)} WHERE true
ON CONFLICT (job, slot) DO UPDATE SET load = excluded.load, placed = excluded.placed

-- name: shift_slots
-- More or less weight in slots, one row for each slot; places of an earlier era are counted nowhere.
UPDATE rota.slot AS slot SET load = slot.load + shifted.weight
  FROM {rows shifted(job text, slot integer, era integer, weight bigint)}
 WHERE slot.job = shifted.job AND slot.slot = shifted.slot
   AND NOT EXISTS (SELECT 1 FROM rota.job job WHERE job.name = shifted.job AND job.era <> shifted.era)

-- name: empty_slots
-- A new era begins: everybody is to be placed again; `placed` goes on, so that offsets do not repeat.
UPDATE rota.slot SET load = 0 WHERE job = :job

-- name: add_turns
-- In the order of slots, so that one page of the index by due time takes several of them.
INSERT INTO rota.turn (job, roster, member, standing, priority, due_at, slot_at, manual, paused, era, slot, nth,
                               phase_ms, pinned, stale_at)
SELECT CAST(:job AS text), CAST(:roster AS text), fresh.member, 1, CAST(:priority AS integer),
       CASE WHEN CAST(:manual AS integer) = 1 THEN {now} ELSE fresh.slot_at END, fresh.slot_at, CAST(:manual AS integer),
       CASE WHEN CAST(:roster AS text) || '/' || fresh.member IN (
                 SELECT pause.name FROM rota.pause pause
                  WHERE pause.scope = 'member' AND pause.ended_at IS NULL AND (pause.until IS NULL OR pause.until > {now}))
            THEN 1 ELSE 0 END,
       CAST(:era AS integer), fresh.slot, fresh.nth, fresh.phase_ms, fresh.pinned, fresh.stale_at
  FROM {rows fresh(member text, slot_at bigint, slot integer, nth integer, phase_ms bigint, pinned integer,
       stale_at bigint)}

-- name: take_back
-- Turns of members who left while they ran and are back before they ended: placed anew when they end.
UPDATE rota.turn AS turn SET
       on_end = CASE WHEN turn.state = 'running' THEN 2 ELSE 0 END, era = back.era, slot = back.slot, nth = back.nth,
       phase_ms = back.phase_ms, pinned = back.pinned
  FROM {rows back(id bigint, era integer, slot integer, nth integer, phase_ms bigint, pinned integer)}
 WHERE turn.id = back.id

-- name: add_alone
-- The one turn of a scheduled job without a roster.
INSERT INTO rota.turn (job, standing, priority, due_at, slot_at, manual, era, stale_at)
SELECT CAST(:job AS text), 1, CAST(:priority AS integer),
       CASE WHEN CAST(:manual AS integer) = 1 THEN {now} ELSE CAST(:slot_at AS bigint) END, CAST(:slot_at AS bigint),
       CAST(:manual AS integer), CAST(:era AS integer), CAST(:stale_at AS bigint)
 WHERE true
ON CONFLICT (job) WHERE member IS NULL AND standing = 1 DO NOTHING

-- name: turn_ids_of_members
SELECT turn.id, turn.job, turn.era
  FROM {rows asked(key text)} CROSS JOIN rota.turn turn
 WHERE turn.roster = :roster AND turn.member = asked.key AND turn.standing = 1

-- name: turn_ids_of_members@postgres
-- Each member apart: joined, 100,000 turns were read for two members while statistics said that there were none.
SELECT turn.id, turn.job, turn.era
  FROM {rows asked(key text)}
 CROSS JOIN LATERAL (SELECT one.id, one.job, one.era FROM rota.turn one
                      WHERE one.roster = :roster AND one.member = asked.key AND one.standing = 1 OFFSET 0) AS turn

-- name: turn_ids_of_job
-- One look for each key: joined, PostgreSQL reads all turns of the job for each page while a table has no statistics yet.
SELECT turn.member, turn.id, turn.era
  FROM {rows asked(key text)}
  JOIN rota.turn turn ON turn.id = (SELECT one.id FROM rota.turn one
                                     WHERE one.job = :job AND one.roster = :roster AND one.member = asked.key)

-- name: turn_id_alone
SELECT turn.id, turn.era FROM rota.turn turn WHERE turn.job = :job AND turn.member IS NULL AND turn.standing = 1

-- name: strays
-- Standing turns that a job has for another roster than its own, or none at all.
SELECT turn.id FROM rota.turn turn
 WHERE turn.job = :job AND turn.standing = 1 AND turn.state <> 'running'
   AND (CAST(:wanted AS integer) = 0 OR coalesce(turn.roster, '') <> coalesce(CAST(:roster AS text), ''))
 LIMIT :most

-- name: strays_running
UPDATE rota.turn SET on_end = 1
 WHERE job = :job AND standing = 1 AND state = 'running'
   AND (CAST(:wanted AS integer) = 0 OR coalesce(roster, '') <> coalesce(CAST(:roster AS text), ''))

-- name: standing
-- Turns with what decides their place, locked in the order of their ids.
SELECT turn.id, turn.job, turn.member, turn.state, turn.due_at, turn.slot_at, turn.slot, turn.nth, turn.phase_ms,
       turn.pinned, turn.era, turn.on_end, turn.last_success_at, turn.stale_at, turn.priority, turn.manual,
       turn.used_slot_at, member.zone, member.data, member.weight
  FROM {rows asked(id bigint)}
  JOIN rota.turn turn ON turn.id = asked.id
  LEFT JOIN rota.member member ON member.roster = turn.roster AND member.key = turn.member
 ORDER BY turn.id
{lock of turn}

-- name: put_standing
UPDATE rota.turn AS turn SET
       due_at = moved.due_at, slot_at = moved.slot_at, slot = moved.slot, nth = moved.nth, phase_ms = moved.phase_ms,
       waits_for = NULL, pinned = moved.pinned,
       era = moved.era, on_end = moved.on_end, stale_at = moved.stale_at, priority = moved.priority
  FROM {rows moved(id bigint, due_at bigint, slot_at bigint, slot integer, nth integer, phase_ms bigint, pinned integer,
       era integer, on_end integer, stale_at bigint, priority integer)}
 WHERE turn.id = moved.id

-- name: remove_turns
DELETE FROM rota.turn WHERE id IN (SELECT gone.id FROM {rows gone(id bigint)})

-- name: part_turns
-- Running turns of members that left: their slot is free from now, they go when they end.
UPDATE rota.turn SET on_end = 1, slot = NULL WHERE id IN (SELECT gone.id FROM {rows gone(id bigint)})

-- name: balanced_turns
-- All members of a balanced job with their weights, for rebalance; those about to run stay where they are.
SELECT turn.id, turn.slot, turn.phase_ms, member.weight,
       CASE WHEN turn.pinned = 1 OR (turn.state <> 'running' AND turn.slot_at <= {now}) THEN 1 ELSE 0 END
  FROM rota.turn turn
  JOIN rota.member member ON member.roster = turn.roster AND member.key = turn.member
 WHERE turn.job = :job AND turn.roster = :roster AND turn.era = :era AND turn.slot IS NOT NULL
 ORDER BY turn.id

-- name: stored_jobs
SELECT job.name, job.roster, job.position, job.signature, job.schedule, job.target_ms, job.grace_ms, job.seen_at, job.era,
       job.history, job.reconciled, {now}
  FROM rota.job job

-- name: put_job
INSERT INTO rota.job (name, roster, position, signature, schedule, target_ms, grace_ms, seen_at, era, history, reconciled)
SELECT CAST(:name AS text), CAST(:roster AS text), CAST(:position AS integer), CAST(:signature AS text),
       CAST(:schedule AS text), CAST(:target_ms AS bigint), CAST(:grace_ms AS bigint), {now}, CAST(:era AS integer),
       CAST(:history AS text), CAST(:reconciled AS text)
 WHERE true
ON CONFLICT (name) DO UPDATE SET
       roster = excluded.roster, position = excluded.position, signature = excluded.signature,
       schedule = excluded.schedule, target_ms = excluded.target_ms, grace_ms = excluded.grace_ms,
       seen_at = excluded.seen_at, era = excluded.era, history = excluded.history, reconciled = excluded.reconciled

-- name: mark_reconciled
UPDATE rota.job SET reconciled = :reconciled WHERE name = :job

-- name: note_rebalance
INSERT INTO rota.audit (at, by, act, target, count, reason)
SELECT {now}, CAST(:by AS text), 'rebalance', CAST(:job AS text), CAST(:count AS bigint), CAST(:reason AS text)
