-- What `rota doctor` and `rota db check` ask of a store. Read only.

-- name: library
SELECT 'SQLite ' || sqlite_version()

-- name: library@postgres
SELECT 'PostgreSQL ' || current_setting('server_version')

-- name: server_settings@postgres
-- What decides whether an acknowledged commit survives a crash (G-20).
SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name

-- name: backend@postgres
-- Which server process answers: behind a transaction pooler two questions may get two answers.
SELECT pg_backend_pid(), coalesce(inet_server_port(), 0)

-- name: old_snapshots@postgres
-- Sessions that keep the server from cleaning up behind the queue: with a snapshot, or with a transaction that has
-- written something and goes on.
SELECT pid, coalesce(application_name, ''),
       CAST(floor(extract(epoch FROM clock_timestamp() - xact_start) * 1000) AS bigint) AS age_ms
  FROM pg_stat_activity
 WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
   AND xact_start < clock_timestamp() - CAST(:older_ms AS bigint) * interval '1 millisecond'
 ORDER BY xact_start
 LIMIT 5

-- name: slot_loads
-- Fullest, emptiest and number of the slots that have ever been used, for each balanced job.
SELECT slot.job, max(slot.load), min(slot.load), count(*), CAST(sum(slot.load) AS bigint) FROM rota.slot slot
 GROUP BY slot.job
 ORDER BY slot.job

-- name: stray_turns
-- Turns of members that are not there, save those that go when their run ends.
SELECT count(*) FROM rota.turn turn
 WHERE turn.member IS NOT NULL AND turn.on_end & 1 = 0
   AND NOT EXISTS (SELECT 1 FROM rota.member member WHERE member.roster = turn.roster AND member.key = turn.member)

-- name: missing_turns
-- Members without a turn of a job that runs for their roster; a worker adds them within a minute.
SELECT asked.job, count(*)
  FROM {rows asked(job text, roster text)}
  JOIN rota.member member ON member.roster = asked.roster
 WHERE NOT EXISTS (SELECT 1 FROM rota.turn turn
                    WHERE turn.job = asked.job AND turn.roster = asked.roster AND turn.member = member.key)
 GROUP BY asked.job
 ORDER BY asked.job

-- name: wrong_loads
-- Slots whose load is not the sum of the weights of those who are in them.
SELECT slot.job, slot.slot, slot.load, coalesce(counted.load, 0)
  FROM rota.slot slot
  LEFT JOIN (SELECT turn.job AS job, turn.slot AS slot, sum(member.weight) AS load
               FROM rota.turn turn
               JOIN rota.member member ON member.roster = turn.roster AND member.key = turn.member
              WHERE turn.slot IS NOT NULL AND turn.on_end & 1 = 0
              GROUP BY turn.job, turn.slot) AS counted ON counted.job = slot.job AND counted.slot = slot.slot
 WHERE slot.load <> coalesce(counted.load, 0)
 ORDER BY slot.job, slot.slot
 LIMIT 20
