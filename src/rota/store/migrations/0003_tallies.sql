-- What each job has due, coming, held, dead and stale, counted by a chore: pages read this where counting takes long.
--   coming  runs within the hour; waiting: turns of a job without members
--   looked  rows of the largest of these figures: where they are many a page does not count them
--   causes  JSON, what is stale by cause, most first: [roster, fingerprint, turns, since, a member]
CREATE TABLE rota.tally (
    job        text PRIMARY KEY,
    due        bigint NOT NULL,
    coming     bigint NOT NULL,
    waiting    bigint NOT NULL,
    held       bigint NOT NULL,
    dead       bigint NOT NULL,
    looked     bigint NOT NULL,
    causes     text NOT NULL,
    counted_at bigint NOT NULL
);
