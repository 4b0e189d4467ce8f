-- What ends bring with them: the locks before them, the followers after them.

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
-- A leader's run has ended: its bit is set for the follower of the same member (or of none), and when all are there, it
-- is due. It is looked up alone: joined, it was found by reading every turn while statistics said that there were none.
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
 WHERE turn.id = CASE WHEN led.member IS NULL
                      THEN (SELECT alone.id FROM rota.turn alone
                             WHERE alone.job = led.job AND alone.member IS NULL AND alone.standing = 1)
                      ELSE (SELECT one.id FROM rota.turn one
                             WHERE one.job = led.job AND one.roster = led.roster AND one.member = led.member
                               AND one.standing = 1) END

-- name: follow_on
-- A follower has ended while its leaders had already ended again.
UPDATE rota.turn AS turn SET due_at = {now}, slot_at = turn.led_slot_at, led_slot_at = NULL,
       used_slot_at = coalesce(turn.led_slot_at, turn.used_slot_at)
  FROM {rows ended(id bigint, leaders integer)}
 WHERE turn.id = ended.id AND turn.state = 'waiting' AND turn.due_at IS NULL AND turn.done & ended.leaders = ended.leaders
