-- What status, why and the lists read. Everything has a limit; nothing looks at more history than it is asked for.

-- name: rosters
SELECT roster.name, roster.facets, roster.synced_at, roster.sync_note FROM rota.roster roster ORDER BY roster.name

-- name: jobs
-- Every job that ever declared itself or was enqueued, those without a row of their own included.
SELECT job.name, job.roster, job.schedule, job.target_ms, coalesce(job.grace_ms, 60000), job.position FROM rota.job job
UNION ALL
SELECT lane.job, NULL, '', NULL, 60000, 1000000 FROM rota.lane lane
 WHERE NOT EXISTS (SELECT 1 FROM rota.job job WHERE job.name = lane.job)
 GROUP BY lane.job

-- name: few_turns
-- How many turns a roster has, counted no further than :most; in order, as else PostgreSQL may read the table for it.
SELECT count(*) FROM (SELECT 1 FROM rota.turn turn WHERE turn.roster = :roster AND turn.member IS NOT NULL
                       ORDER BY turn.member LIMIT :most) AS few

-- name: page_end
-- The last of the next :most keys after one, and how many there are.
SELECT max(page.key), count(*)
  FROM (SELECT member.key FROM rota.member member WHERE member.roster = :roster AND member.key > :after
         ORDER BY member.key LIMIT :most) AS page

-- name: member_states
-- Members of a range of keys by state, for each job and (job '') for their worst one:
-- 0 paused, 1 fresh, 2 no run yet, 3 late, 4 stale; and the oldest success among those that are not paused.
WITH jobs AS MATERIALIZED (
    SELECT job.name, coalesce(job.grace_ms, 60000) AS grace_ms,
           EXISTS (SELECT 1 FROM rota.pause pause
                    WHERE pause.ended_at IS NULL AND (pause.until IS NULL OR pause.until > {now})
                      AND (pause.scope = 'all' OR (pause.scope = 'job' AND pause.name = job.name)
                           OR (pause.scope = 'roster' AND pause.name = job.roster))) AS halted
      FROM rota.job job WHERE job.roster = :roster
), seen AS MATERIALIZED (
    SELECT turn.job, turn.member,
           CASE WHEN turn.paused = 1 OR jobs.halted THEN 0
                WHEN turn.stale_at < {now} THEN 4
                WHEN turn.last_success_at IS NULL THEN 2
                WHEN turn.stale_at - jobs.grace_ms < {now} THEN 3
                ELSE 1 END AS state,
           CASE WHEN turn.paused = 1 OR jobs.halted THEN NULL ELSE turn.last_success_at END AS success_at
      FROM rota.turn turn JOIN jobs ON jobs.name = turn.job
     WHERE turn.roster = :roster AND turn.member > :after AND turn.member <= :upto
)
SELECT seen.job, seen.state, count(*), min(seen.success_at) FROM seen GROUP BY seen.job, seen.state
UNION ALL
SELECT '', worst.state, count(*), min(worst.success_at)
  FROM (SELECT max(seen.state) AS state, min(seen.success_at) AS success_at FROM seen GROUP BY seen.member) AS worst
 GROUP BY worst.state

-- name: freshness_of
SELECT counted.job, counted.members, counted.fresh, counted.late, counted.stale, counted.new, counted.paused,
       counted.oldest_at, counted.counted_at
  FROM rota.freshness counted WHERE counted.roster = :roster

-- name: job_counts
-- For each job: due now, due within the hour as turns and as runs (a short period comes round several times in it),
-- running, held, open dead letters, stale (paused ones too), waiting (of a job alone), the next due instant.
-- Each is counted no further than :most, in the order of its index and lane by lane, so that nothing else is read;
-- for dead letters a range in place of `=`, as else PostgreSQL reads all that ever died in the order of that index.
-- Pauses of jobs and rosters are the reader's to apply; members' are in the index.
SELECT asked.job,
       (SELECT CAST(coalesce(sum((SELECT count(*) FROM (
                   SELECT 1 FROM rota.turn turn
                    WHERE turn.job = lane.job AND turn.priority = lane.priority AND turn.state = 'waiting'
                      AND turn.paused = 0 AND turn.due_at <= {now}
                    ORDER BY turn.due_at LIMIT :most) AS few)), 0) AS bigint)
          FROM rota.lane lane WHERE lane.job = asked.job),
       (SELECT CAST(coalesce(sum((SELECT count(*) FROM (
                   SELECT 1 FROM rota.turn turn
                    WHERE turn.job = lane.job AND turn.priority = lane.priority AND turn.state = 'waiting'
                      AND turn.paused = 0 AND turn.due_at > {now} AND turn.due_at <= {now} + 3600000
                    ORDER BY turn.due_at LIMIT :most) AS few)), 0) AS bigint)
          FROM rota.lane lane WHERE lane.job = asked.job),
       (SELECT CAST(coalesce(sum((SELECT sum(({now} + 3600000 - few.due_at) / asked.period_ms + 1) FROM (
                   SELECT turn.due_at FROM rota.turn turn
                    WHERE turn.job = lane.job AND turn.priority = lane.priority AND turn.state = 'waiting'
                      AND turn.paused = 0 AND turn.due_at > {now} AND turn.due_at <= {now} + 3600000
                    ORDER BY turn.due_at LIMIT :most) AS few)), 0) AS bigint)
          FROM rota.lane lane WHERE lane.job = asked.job AND asked.period_ms < 3600000),
       (SELECT count(*) FROM rota.turn turn WHERE turn.job = asked.job AND turn.state = 'running'),
       (SELECT count(*) FROM (SELECT 1 FROM rota.turn turn WHERE turn.job = asked.job AND turn.state = 'held'
                               ORDER BY turn.id LIMIT :most) AS few),
       (SELECT count(*) FROM (SELECT 1 FROM rota.dead_letter dead
                               WHERE dead.job >= asked.job AND dead.job <= asked.job AND dead.requeued_at IS NULL
                               ORDER BY dead.job, dead.died_at LIMIT :most) AS few),
       (SELECT count(*) FROM (SELECT 1 FROM rota.turn turn
                               WHERE turn.job = asked.job AND turn.stale_at < {now} AND turn.stale_at IS NOT NULL
                               ORDER BY turn.stale_at LIMIT :most) AS few),
       (SELECT CAST(coalesce(sum((SELECT count(*) FROM (
                   SELECT 1 FROM rota.turn turn
                    WHERE turn.job = lane.job AND turn.priority = lane.priority AND turn.state = 'waiting'
                      AND turn.paused = 0 AND turn.due_at IS NOT NULL
                    ORDER BY turn.due_at LIMIT :most) AS few)), 0) AS bigint)
          FROM rota.lane lane WHERE lane.job = asked.job AND asked.alone = 1),
       (SELECT min((SELECT turn.due_at FROM rota.turn turn
                     WHERE turn.job = lane.job AND turn.priority = lane.priority AND turn.state = 'waiting'
                       AND turn.paused = 0 AND turn.due_at IS NOT NULL
                     ORDER BY turn.due_at LIMIT 1))
          FROM rota.lane lane WHERE lane.job = asked.job)
  FROM {rows asked(job text, period_ms bigint, alone integer)}

-- name: tallies
-- The last count of some jobs.
SELECT tally.job, tally.due, tally.coming, tally.waiting, tally.held, tally.dead, tally.looked, tally.causes, tally.counted_at
  FROM {rows asked(job text)} JOIN rota.tally tally ON tally.job = asked.job

-- name: turns_of_jobs
-- How many turns of members a job has, counted no further than :most, in order too.
SELECT asked.job, (SELECT count(*) FROM (SELECT 1 FROM rota.turn turn
                                          WHERE turn.job = asked.job AND turn.roster = asked.roster
                                            AND turn.member IS NOT NULL
                                          ORDER BY turn.member LIMIT :most) AS few)
  FROM {rows asked(job text, roster text)}

-- name: stale_groups
-- Stale turns of a job by cause, of those that have been stale longest :most.
SELECT few.job, few.roster, few.error, count(*), min(few.since), min(few.member)
  FROM (SELECT turn.job, turn.roster, turn.error, turn.member, turn.paused,
               coalesce(turn.failing_since, turn.stale_at) AS since
          FROM rota.turn turn
         WHERE turn.job = :job AND turn.stale_at < {now} AND turn.stale_at IS NOT NULL
         ORDER BY turn.stale_at LIMIT :most) AS few
 WHERE few.paused = 0
 GROUP BY few.job, few.roster, few.error
 ORDER BY count(*) DESC
 LIMIT :groups

-- name: errors_named
SELECT error.job, error.fingerprint, error.kind, error.message, error.place
  FROM {rows asked(job text, fingerprint text)}
  JOIN rota.error error ON error.job = asked.job AND error.fingerprint = asked.fingerprint

-- name: dead_newest
-- When the newest open dead letter of some jobs died, and of what.
SELECT dead.job, dead.died_at, dead.reason
  FROM {rows asked(job text)}
  JOIN rota.dead_letter dead ON dead.id = (SELECT newest.id FROM rota.dead_letter newest
                                            WHERE newest.job >= asked.job AND newest.job <= asked.job
                                              AND newest.requeued_at IS NULL
                                            ORDER BY newest.job DESC, newest.died_at DESC LIMIT 1)

-- name: held_reasons
-- Why the turn of each of some jobs that was made first among the held ones is on hold.
SELECT asked.job, (SELECT turn.reason FROM rota.turn turn WHERE turn.job = asked.job AND turn.state = 'held'
                    ORDER BY turn.id LIMIT 1)
  FROM {rows asked(job text)}

-- name: long_pauses
-- Pauses older than a day, those that a handler asked for (PauseJob: somebody must act), and members' whose end has
-- passed though their turns are still marked.
SELECT pause.scope, pause.name, pause.by, pause.reason, pause.since, pause.until FROM rota.pause pause
 WHERE pause.ended_at IS NULL AND pause.scope <> 'all'
   AND (((pause.since < {now} - 86400000 OR pause.by = 'rota') AND (pause.until IS NULL OR pause.until > {now}))
        OR (pause.scope = 'member' AND pause.until < {now} - 60000))
 ORDER BY pause.since
 LIMIT :most

-- name: sums_of_day
SELECT coalesce(sum(rollup.runs - rollup.retry - rollup.other), 0), coalesce(sum(rollup.succeeded), 0),
       coalesce(sum(rollup.dead), 0)
  FROM rota.rollup rollup WHERE rollup.hour_at > {now} - 86400000

-- name: workers
SELECT worker.incarnation, worker.name, worker.kind, worker.version, worker.started_at, worker.beat_at, worker.lease_until,
       worker.concurrency, worker.queues, worker.running, worker.note, {now}
  FROM rota.worker worker ORDER BY worker.started_at, worker.incarnation LIMIT :most

-- name: rosters_with
-- The rosters that have a member of this key.
SELECT asked.roster FROM {rows asked(roster text)}
  JOIN rota.member member ON member.roster = asked.roster AND member.key = :key
 ORDER BY asked.roster

-- name: known_job
SELECT 1 FROM rota.job job WHERE job.name = :name UNION ALL SELECT 1 FROM rota.lane lane WHERE lane.job = :name LIMIT 1

-- name: known_roster
SELECT 1 FROM rota.roster roster WHERE roster.name = :name
UNION ALL SELECT 1 FROM rota.member member WHERE member.roster = :name LIMIT 1

-- name: member_row
SELECT member.key, member.zone, member.data, member.owner, member.weight, member.joined_at, member.updated_at
  FROM rota.member member WHERE member.roster = :roster AND member.key = :key

-- name: member_turns
-- A member's turns with what there is to know of each.
SELECT turn.id, turn.job, turn.state, turn.due_at, turn.slot_at, turn.manual, turn.paused, turn.run, turn.attempt, turn.tries,
       turn.losses, turn.last_success_at, turn.stale_at, turn.failing_since, turn.error, turn.reason, turn.start_at,
       turn.slot, turn.phase_ms, turn.pinned, job.target_ms, coalesce(job.grace_ms, 60000), error.kind, error.message,
       error.place, worker.name, worker.lease_until, {now}
  FROM rota.turn turn
  LEFT JOIN rota.job job ON job.name = turn.job
  LEFT JOIN rota.error error ON error.job = turn.job AND error.fingerprint = turn.error
  LEFT JOIN rota.worker worker ON worker.incarnation = turn.worker
 WHERE turn.roster = :roster AND turn.member = :member
 ORDER BY turn.job
 LIMIT :most

-- name: failures_since
-- How often a turn has failed since an instant, and by how many causes, among the last :scan rows of its journal.
SELECT count(*), count(DISTINCT few.error)
  FROM (SELECT journal.error, journal.outcome, journal.ended_at FROM rota.journal journal
         WHERE journal.turn = :turn ORDER BY journal.run DESC LIMIT :scan) AS few
 WHERE few.ended_at >= CAST(:since_at AS bigint) AND few.outcome IN ('retry', 'dead', 'lost')

-- name: same_cause
-- How many members of the job are stale for the same cause, of those that have been stale longest :most.
SELECT coalesce(sum(CASE WHEN few.paused = 0 AND few.error = :error THEN 1 ELSE 0 END), 0), count(*)
  FROM (SELECT turn.paused, turn.error FROM rota.turn turn
         WHERE turn.job = :job AND turn.stale_at < {now} AND turn.stale_at IS NOT NULL
         ORDER BY turn.stale_at LIMIT :most) AS few

-- name: runs
-- The journal backwards from an id. Filters look at no more than :scan rows, so that no page reads all of history.
SELECT part.id, part.turn, part.run, part.attempt, part.job, part.roster, part.member, part.slot_at, part.due_at,
       part.started_at, part.ended_at, part.worker, part.outcome, part.reason, part.link, part.error, part.slots
  FROM (SELECT journal.* FROM rota.journal journal
         WHERE journal.id < CAST(:before AS bigint) ORDER BY journal.id DESC LIMIT :scan) AS part
 WHERE (CAST(:job AS text) IS NULL OR part.job = :job) AND (CAST(:roster AS text) IS NULL OR part.roster = :roster)
   AND (CAST(:error AS text) IS NULL OR part.error = :error)
   AND (CAST(:outcome AS text) IS NULL OR part.outcome = :outcome)
   AND (CAST(:since_at AS bigint) IS NULL OR part.ended_at >= :since_at)
 ORDER BY part.id DESC
 LIMIT :most

-- name: runs_scanned
-- Where such a look ended.
SELECT min(part.id), count(*) FROM (SELECT journal.id FROM rota.journal journal
         WHERE journal.id < CAST(:before AS bigint) ORDER BY journal.id DESC LIMIT :scan) AS part

-- name: runs_of_turns
-- The journal of some turns, newest first: of a member, or of one run. Of each turn no more than a page is taken, its
-- newest runs first, so that all it ever did is not sorted.
SELECT journal.id, journal.turn, journal.run, journal.attempt, journal.job, journal.roster, journal.member, journal.slot_at,
       journal.due_at, journal.started_at, journal.ended_at, journal.worker, journal.outcome, journal.reason, journal.link,
       journal.error, journal.slots
  FROM {rows asked(turn bigint)}
 CROSS JOIN rota.journal journal
 WHERE journal.id IN (SELECT newest.id FROM rota.journal newest
        WHERE newest.turn = asked.turn AND newest.id < CAST(:before AS bigint)
          AND (CAST(:run AS bigint) IS NULL OR newest.run = :run)
          AND (CAST(:job AS text) IS NULL OR newest.job = :job)
          AND (CAST(:outcome AS text) IS NULL OR newest.outcome = :outcome)
          AND (CAST(:error AS text) IS NULL OR newest.error = :error)
          AND (CAST(:since_at AS bigint) IS NULL OR newest.ended_at >= :since_at)
        ORDER BY newest.run DESC LIMIT :most)
 ORDER BY journal.id DESC
 LIMIT :most

-- name: runs_of_turns@postgres
-- The journal is partitioned by day: looking its rows up again by their ids would ask every day.
SELECT journal.id, journal.turn, journal.run, journal.attempt, journal.job, journal.roster, journal.member, journal.slot_at,
       journal.due_at, journal.started_at, journal.ended_at, journal.worker, journal.outcome, journal.reason, journal.link,
       journal.error, journal.slots
  FROM {rows asked(turn bigint)}
 CROSS JOIN LATERAL (SELECT newest.* FROM rota.journal newest
        WHERE newest.turn = asked.turn AND newest.id < CAST(:before AS bigint)
          AND (CAST(:run AS bigint) IS NULL OR newest.run = :run)
          AND (CAST(:job AS text) IS NULL OR newest.job = :job)
          AND (CAST(:outcome AS text) IS NULL OR newest.outcome = :outcome)
          AND (CAST(:error AS text) IS NULL OR newest.error = :error)
          AND (CAST(:since_at AS bigint) IS NULL OR newest.ended_at >= :since_at)
        ORDER BY newest.run DESC LIMIT :most) AS journal
 ORDER BY journal.id DESC
 LIMIT :most

-- name: ids_of_member
SELECT turn.id FROM rota.turn turn WHERE turn.roster = :roster AND turn.member = :member

-- name: dead_letters
SELECT dead.id, dead.turn, dead.run, dead.job, dead.roster, dead.member, dead.key, dead.args, dead.slot_at, dead.tries,
       dead.losses, dead.reason, dead.error, dead.died_at, dead.requeued_at, dead.requeued_as
  FROM rota.dead_letter dead
 WHERE dead.id < CAST(:before AS bigint) AND (CAST(:job AS text) IS NULL OR dead.job = :job)
   AND (CAST(:error AS text) IS NULL OR dead.error = :error)
   AND (CAST(:opened AS integer) = 0 OR dead.requeued_at IS NULL)
 ORDER BY dead.id DESC
 LIMIT :most

-- name: errors
SELECT error.job, error.fingerprint, error.kind, error.message, error.place, error.traceback, error.first_at, error.last_at,
       error.count, error.turn, error.run
  FROM rota.error error
 WHERE (CAST(:job AS text) IS NULL OR error.job = :job)
   AND (CAST(:fingerprint AS text) IS NULL OR error.fingerprint = :fingerprint)
 ORDER BY error.last_at DESC, error.job, error.fingerprint
 LIMIT :most

-- name: audit_list
SELECT audit.id, audit.at, audit.by, audit.act, audit.target, audit.count, audit.reason, audit.detail
  FROM rota.audit audit
 WHERE audit.id < CAST(:before AS bigint) AND (CAST(:target AS text) IS NULL OR audit.target = :target)
 ORDER BY audit.id DESC
 LIMIT :most

-- name: failing_members
-- Data of members that are stale in a job for one cause, of those that have been stale longest :looked.
SELECT member.data
  FROM (SELECT turn.roster, turn.member, turn.paused, turn.error FROM rota.turn turn
         WHERE turn.job = :job AND turn.stale_at < {now} AND turn.stale_at IS NOT NULL
         ORDER BY turn.stale_at LIMIT :looked) AS few
  JOIN rota.member member ON member.roster = few.roster AND member.key = few.member
 WHERE few.paused = 0 AND few.error = :error
 LIMIT :most

-- name: sample_members
SELECT member.data FROM rota.member member WHERE member.roster = :roster LIMIT :most
