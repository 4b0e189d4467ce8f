-- What becomes of attempts that nobody keeps alive: which they are, whose life the clock cannot tell, how one is given back.
-- 3600000: an hour. A lease that is over for longer, or a beat that lies further ahead, may be a leap of the clock (G-19).

-- name: lost_ids
-- Attempts whose worker's lease is over, or that are past their own last instant; of doubted workers none.
-- The plus keeps SQLite from reading every turn in the order of its id; what runs is found by its own index.
SELECT turn.id FROM rota.turn turn
 WHERE turn.state = 'running'
   AND EXISTS (SELECT 1 FROM rota.worker worker
                WHERE worker.incarnation = turn.worker
                  AND worker.lease_until >= {now} - 3600000 AND worker.beat_at <= {now} + 3600000
                  AND (worker.lease_until < {now} OR turn.leased_until < {now}))
 ORDER BY +turn.id
 LIMIT :most
{lock of turn skip}

-- name: silent_ids
-- What doubted workers hold of whom it is known that they have fallen silent; the beat says whether they still are.
SELECT turn.id
  FROM {rows silent(worker text, beat_at bigint)}
  JOIN rota.turn turn ON turn.worker = silent.worker AND turn.state = 'running'
 WHERE silent.beat_at = coalesce((SELECT worker.beat_at FROM rota.worker worker
                                   WHERE worker.incarnation = silent.worker), -1)
 ORDER BY +turn.id
 LIMIT :most
{lock of turn skip}

-- name: doubted
-- Workers with runs of which the clock cannot tell whether they live: their lease is over for more than an hour, their
-- last beat lies as far ahead, or they have no row. With that beat, and how long their lease was.
SELECT DISTINCT turn.worker, coalesce(worker.beat_at, -1), worker.lease_until - worker.beat_at
  FROM rota.turn turn
  LEFT JOIN rota.worker worker ON worker.incarnation = turn.worker
 WHERE turn.state = 'running'
   AND (worker.incarnation IS NULL OR worker.lease_until < {now} - 3600000 OR worker.beat_at > {now} + 3600000)

-- name: give_back
-- A lost attempt of a job this process does not know: it waits for a process that does. caught 2: the run has begun.
UPDATE rota.turn SET state = 'waiting', worker = NULL, leased_until = NULL, losses = losses + 1, tries = tries - 1,
       caught = 2
 WHERE id = :turn AND attempt = :attempt AND state = 'running'

-- name: move_leases
-- Before a beat: a worker that beats an hour and more after its lease lives, so it was the clock that leapt, or time
-- itself (a suspended machine): the last instants of what it runs move on by as much. What it claimed since gets too
-- much, which costs nothing while it beats; too little would take from it what lives. Locked in the order of ids.
UPDATE rota.turn AS turn SET leased_until = turn.leased_until + mine.by_ms
  FROM (SELECT turn.id, {now} - worker.beat_at AS by_ms
          FROM rota.worker worker JOIN rota.turn turn ON turn.worker = worker.incarnation AND turn.state = 'running'
         WHERE worker.incarnation = :worker AND worker.lease_until < {now} - 3600000
         ORDER BY turn.id
         {lock of turn}) AS mine
 WHERE turn.id = mine.id AND turn.worker = :worker AND turn.state = 'running'
