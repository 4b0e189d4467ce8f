-- What ends bring with them: the locks before them, the followers after them, the lost and those nobody here knows.

-- name: lock_ends@postgres
-- Every turn that some ends will write: theirs, their followers, and those that wait for them; in the order of ids, so
-- that two batches never wait for each other in a ring. The array keeps the index plan.
WITH asked AS MATERIALIZED (
    SELECT * FROM {rows given(id bigint, job text, roster text, member text, waits_for text, places integer)}
)
SELECT turn.id FROM rota.turn turn
 WHERE turn.id = ANY (ARRAY(
       SELECT coalesce(asked.id,
                       CASE WHEN asked.member IS NULL
                            THEN (SELECT alone.id FROM rota.turn alone
                                   WHERE alone.job = asked.job AND alone.member IS NULL AND alone.standing = 1)
                            ELSE (SELECT one.id FROM rota.turn one
                                   WHERE one.job = asked.job AND one.roster = asked.roster AND one.member = asked.member
                                     AND one.standing = 1) END)
         FROM asked WHERE asked.waits_for IS NULL
        UNION ALL
       SELECT first.id FROM asked CROSS JOIN LATERAL (
              SELECT waiter.id FROM rota.turn waiter
               WHERE waiter.waits_for = asked.waits_for AND waiter.state = 'waiting' AND waiter.due_at > {now}
               ORDER BY waiter.due_at, waiter.id LIMIT asked.places) AS first))
 ORDER BY turn.id
   FOR UPDATE

-- name: lock_ends@sqlite
-- The writer is alone: there is nothing to lock.
SELECT given.id
  FROM {rows given(id bigint, job text, roster text, member text, waits_for text, places integer)} WHERE 1 = 0

-- name: followers
-- The turns that some ends lead.
SELECT led.job, led.roster, led.member,
       CASE WHEN led.member IS NULL
            THEN (SELECT alone.id FROM rota.turn alone
                   WHERE alone.job = led.job AND alone.member IS NULL AND alone.standing = 1)
            ELSE (SELECT one.id FROM rota.turn one
                   WHERE one.job = led.job AND one.roster = led.roster AND one.member = led.member
                     AND one.standing = 1) END
  FROM {rows led(job text, roster text, member text)}

-- name: lock_free
-- Of some turns those that nobody holds, which are locked now.
SELECT turn.id FROM {rows asked(id bigint)} JOIN rota.turn turn ON turn.id = asked.id
 ORDER BY turn.id
{lock of turn skip}

-- name: lead
-- A leader's run has ended: its bit is set for the follower of the same member, and when all are there, it is due. It is
-- looked up alone: joined, it was found by reading every turn while statistics said that there were none.
UPDATE rota.turn AS turn SET
       done = turn.done | led.bit,
       failed = (turn.failed & ~led.bit) | led.failed,
       slot_at = CASE WHEN turn.state = 'waiting' AND turn.due_at IS NULL AND (turn.done | led.bit) & led.leaders = led.leaders
                      THEN coalesce(CASE WHEN led.slot_at > coalesce(turn.used_slot_at, 0) THEN led.slot_at END, turn.led_slot_at)
                      ELSE turn.slot_at END,
       used_slot_at = CASE WHEN turn.state = 'waiting' AND turn.due_at IS NULL AND (turn.done | led.bit) & led.leaders = led.leaders
                           THEN coalesce(CASE WHEN led.slot_at > coalesce(turn.used_slot_at, 0) THEN led.slot_at END,
                                         turn.led_slot_at, turn.used_slot_at)
                           ELSE turn.used_slot_at END,
       led_slot_at = CASE WHEN turn.state = 'waiting' AND turn.due_at IS NULL
                               AND (turn.done | led.bit) & led.leaders = led.leaders
                          THEN NULL
                          ELSE coalesce(CASE WHEN led.slot_at > coalesce(turn.used_slot_at, 0) THEN led.slot_at END, turn.led_slot_at) END,
       due_at = CASE WHEN turn.state = 'waiting' AND turn.due_at IS NULL AND (turn.done | led.bit) & led.leaders = led.leaders
                     THEN {now} ELSE turn.due_at END
  FROM {rows led(job text, roster text, member text, bit integer, failed integer, leaders integer, slot_at bigint)}
 WHERE turn.id = (SELECT follower.id FROM rota.turn follower
                   WHERE follower.job = led.job AND follower.roster = led.roster AND follower.member = led.member
                     AND follower.standing = 1)

-- name: lead_alone
-- The same where leader and follower have no roster; apart, so that both use their unique index.
UPDATE rota.turn AS turn SET
       done = turn.done | led.bit,
       failed = (turn.failed & ~led.bit) | led.failed,
       slot_at = CASE WHEN turn.state = 'waiting' AND turn.due_at IS NULL AND (turn.done | led.bit) & led.leaders = led.leaders
                      THEN coalesce(CASE WHEN led.slot_at > coalesce(turn.used_slot_at, 0) THEN led.slot_at END, turn.led_slot_at)
                      ELSE turn.slot_at END,
       used_slot_at = CASE WHEN turn.state = 'waiting' AND turn.due_at IS NULL AND (turn.done | led.bit) & led.leaders = led.leaders
                           THEN coalesce(CASE WHEN led.slot_at > coalesce(turn.used_slot_at, 0) THEN led.slot_at END,
                                         turn.led_slot_at, turn.used_slot_at)
                           ELSE turn.used_slot_at END,
       led_slot_at = CASE WHEN turn.state = 'waiting' AND turn.due_at IS NULL
                               AND (turn.done | led.bit) & led.leaders = led.leaders
                          THEN NULL
                          ELSE coalesce(CASE WHEN led.slot_at > coalesce(turn.used_slot_at, 0) THEN led.slot_at END, turn.led_slot_at) END,
       due_at = CASE WHEN turn.state = 'waiting' AND turn.due_at IS NULL AND (turn.done | led.bit) & led.leaders = led.leaders
                     THEN {now} ELSE turn.due_at END
  FROM {rows led(job text, bit integer, failed integer, leaders integer, slot_at bigint)}
 WHERE turn.job = led.job AND turn.standing = 1
   AND turn.member IS NULL

-- name: follow_on
-- A follower has ended while its leaders had already ended again.
UPDATE rota.turn AS turn SET due_at = {now}, slot_at = turn.led_slot_at, led_slot_at = NULL,
       used_slot_at = coalesce(turn.led_slot_at, turn.used_slot_at)
  FROM {rows ended(id bigint, leaders integer)}
 WHERE turn.id = ended.id AND turn.state = 'waiting' AND turn.due_at IS NULL AND turn.done & ended.leaders = ended.leaders

-- name: lost_ids
-- The plus keeps SQLite from reading every turn in the order of its id; what runs is found by its own index.
-- Attempts whose worker's lease is over, or that are past their own last instant.
SELECT turn.id FROM rota.turn turn
 WHERE turn.state = 'running'
   AND (turn.leased_until < {now}
        OR NOT EXISTS (SELECT 1 FROM rota.worker worker
                        WHERE worker.incarnation = turn.worker AND worker.lease_until >= {now}))
 ORDER BY +turn.id
 LIMIT :most
{lock of turn skip}

-- name: give_back
-- A lost attempt of a job this process does not know: it waits for a process that does. caught 2: the run has begun.
UPDATE rota.turn SET state = 'waiting', worker = NULL, leased_until = NULL, losses = losses + 1, tries = tries - 1,
       caught = 2
 WHERE id = :turn AND attempt = :attempt AND state = 'running'
