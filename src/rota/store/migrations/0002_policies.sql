-- What keeps limits, cool-downs, batches, serial keys and caps by key. Only added to: the release before runs on it.

-- What a waiting turn waits for, other than its time: "limit ads:eu", "scope llm:gpt", "serial u7", "cap sync owner=u7".
ALTER TABLE rota.turn ADD COLUMN waits_for text;
CREATE INDEX turn_waits ON rota.turn (waits_for, due_at, id) WHERE waits_for IS NOT NULL AND state = 'waiting';

-- The newest slot that a follower has run for: a leader that ends for it once more brings no slot.
ALTER TABLE rota.turn ADD COLUMN used_slot_at bigint;

-- One row for each named bucket: the rate of a limit, the cool-down of a scope, or both.
--   tat_ns         up to when its rate is used up (GCRA); line_ns: up to when room is promised to turns that wait
--   cooling_until  nothing of this scope starts before; failures: in a row, until a probe shows that it works again;
--                  probing 1: it has cooled, one run is on its way to see whether it works, cooling_until is for the others
--   closed_until   before this instant a claim finds nothing to start under it, so jobs behind it are not looked at
--   rate, burst    said at run time, until rate_until; null: as declared. The row of a template holds for all of it
CREATE TABLE rota.bucket (
    scope         text PRIMARY KEY,
    tat_ns        bigint NOT NULL DEFAULT 0,
    line_ns       bigint NOT NULL DEFAULT 0,
    cooling_until bigint NOT NULL DEFAULT 0,
    failures      integer NOT NULL DEFAULT 0,
    probing       integer NOT NULL DEFAULT 0,
    closed_until  bigint NOT NULL DEFAULT 0,
    reason        text,
    rate          text,
    burst         integer,
    rate_until    bigint,
    rate_by       text,
    changed_at    bigint NOT NULL DEFAULT 0
);
CREATE INDEX bucket_cooling ON rota.bucket (cooling_until) WHERE failures > 0;

-- Which scopes close a whole job: those it declares that are the same for all its runs, and (learned = 1) those its
-- handler was refused under.
CREATE TABLE rota.gate (
    job     text NOT NULL,
    scope   text NOT NULL,
    learned integer NOT NULL DEFAULT 0,
    PRIMARY KEY (job, scope)
);

-- Who holds a serial key: a run, from its first attempt to its end. A row whose run is over holds nothing.
CREATE TABLE rota.serial (
    key  text PRIMARY KEY,
    turn bigint NOT NULL,
    run  integer NOT NULL
);
