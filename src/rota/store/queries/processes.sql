-- What the parent of several worker processes does for a child that has died.

-- name: free_leases
-- Its small leases: the chores it had are another's at once.
DELETE FROM rota.lease WHERE holder = :worker
