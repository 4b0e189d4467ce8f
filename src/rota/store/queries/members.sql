-- Rosters, their members, and reading them.
-- Whoever changes members, places or loads holds the row of the roster: one lock, taken first.

-- name: lock_roster
SELECT roster.members, {now} FROM rota.roster roster WHERE roster.name = :roster {lock}

-- name: add_roster
INSERT INTO rota.roster (name, facets) VALUES (:roster, :facets)
ON CONFLICT (name) DO NOTHING

-- name: stored_rosters
SELECT roster.name, roster.facets FROM rota.roster roster

-- name: describe_roster
UPDATE rota.roster SET facets = :facets WHERE name = :roster

-- name: count_members
UPDATE rota.roster SET members = members + :more WHERE name = :roster

-- name: roster_count
SELECT roster.members FROM rota.roster roster WHERE roster.name = :roster

-- name: synced
SELECT roster.name, {now} - roster.synced_at FROM rota.roster roster WHERE roster.synced_at IS NOT NULL

-- name: note_sync
UPDATE rota.roster SET synced_at = {now}, sync_note = :note WHERE name = :roster

-- name: known_members
-- CROSS JOIN, here and in placing.sql: SQLite would begin with all members of the roster.
SELECT member.key, member.zone, member.data, member.owner, member.weight
  FROM {rows asked(key text)} CROSS JOIN rota.member member
 WHERE member.roster = :roster AND member.key = asked.key

-- name: members_after
-- A page in the order of keys.
SELECT member.key, member.zone, member.data, member.owner, member.weight, member.joined_at FROM rota.member member
 WHERE member.roster = :roster AND member.key > :after
 ORDER BY member.key
 LIMIT :most

-- name: add_members
INSERT INTO rota.member (roster, key, zone, data, owner, weight, joined_at, updated_at)
SELECT CAST(:roster AS text), fresh.key, fresh.zone, fresh.data, fresh.owner, fresh.weight, {now}, {now}
  FROM {rows fresh(key text, zone text, data text, owner text, weight integer)}

-- name: change_members
-- The roster comes with each row, so that SQLite looks members up instead of reading the roster.
UPDATE rota.member AS member SET
       zone = changed.zone, data = changed.data, owner = changed.owner, weight = changed.weight, updated_at = {now}
  FROM {rows changed(roster text, key text, zone text, data text, owner text, weight integer)}
 WHERE member.roster = changed.roster AND member.key = changed.key

-- name: drop_members
DELETE FROM rota.member
 WHERE roster = :roster AND key IN (SELECT gone.key FROM {rows gone(key text)})
RETURNING key, weight
