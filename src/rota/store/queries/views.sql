-- Single rows as the application's own objects show them.

-- name: view_run
SELECT state FROM rota.turn WHERE id = :turn AND run = :run

-- name: view_end
-- The last row of a run is its final outcome.
SELECT outcome FROM rota.journal WHERE turn = :turn AND run = :run ORDER BY attempt DESC, id DESC LIMIT 1

-- name: view_turn
SELECT state, due_at, slot_at, run, tries, last_success_at, stale_at, result, {now}
  FROM rota.turn WHERE job = :job AND roster = :roster AND member = :member

-- name: view_alone
SELECT state, due_at, slot_at, run, tries, last_success_at, stale_at, result, {now}
  FROM rota.turn WHERE job = :job AND member IS NULL AND standing = 1

-- name: view_journal
SELECT turn, run, attempt, job, roster, member, slot_at, due_at, started_at, ended_at, worker, outcome, reason, link, error,
       slots
  FROM rota.journal ORDER BY id DESC LIMIT :most
