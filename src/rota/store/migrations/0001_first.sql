-- The whole schema of release 0.1. Instants are whole milliseconds UTC, JSON is text, flags are 0 or 1.
-- What must never be false is held here: the state names, running exactly when there is a worker,
-- one turn for each (job, roster, member), one turn for each scheduled job without a roster, one key for each one-off.

-- Facts about the store itself: its schema version, its identity, the last pass of the engine.
CREATE TABLE rota.meta (
    name  text PRIMARY KEY,
    value text NOT NULL
);

-- Jobs as the newest release that opened the store declared them. `signature` changes when slots change;
-- the row is also what a claim locks to keep a cap. `history` holds the signatures of earlier eras, `reconciled` says
-- how far its turns follow the declaration: null (look again), "clear", "after <member>" or "done".
CREATE TABLE rota.job (
    name       text PRIMARY KEY,
    roster     text,
    position   integer NOT NULL,
    signature  text NOT NULL,
    schedule   text NOT NULL,
    target_ms  bigint,
    grace_ms   bigint,
    seen_at    bigint NOT NULL,
    era        integer NOT NULL DEFAULT 0,
    history    text NOT NULL DEFAULT '[]',
    reconciled text
);

-- The priorities in use for each job: a claim looks at one (job, priority) after the other, so that
-- turns which are not due are never read.
CREATE TABLE rota.lane (
    job      text NOT NULL,
    priority integer NOT NULL,
    PRIMARY KEY (job, priority)
);

CREATE TABLE rota.roster (
    name      text PRIMARY KEY,
    facets    text NOT NULL,
    members   bigint NOT NULL DEFAULT 0,
    synced_at bigint,
    sync_note text
);

CREATE TABLE rota.member (
    roster     text NOT NULL,
    key        text NOT NULL,
    zone       text,
    data       text NOT NULL,
    owner      text,
    weight     integer NOT NULL,
    joined_at  bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (roster, key)
);
CREATE INDEX member_owner ON rota.member (roster, owner) WHERE owner IS NOT NULL;

-- The standing entry of each (job, member), one-off calls until they end. The only thing that has a state.
--   due_at         the next thing that happens to it; null for a follower that waits for its leader
--   slot_at        nominal instant of the current run; null for one-offs
--   manual         1: the current run was asked for by hand and does not use up its slot
--   caught         1: this run was already spread by a catch-up; 2: an attempt of it has started
--   attempt        the fence: +1 at every claim, never lowered
--   cancel         1: a person wishes this attempt to stop
--   on_end         bits, looked at when a running turn ends: 1 it leaves with its member, 2 its slot is computed anew
--   era            which version of the job's schedule placed it (job.era)
--   waited_ms      time this run has waited for rate limits (24 h in all)
--   leased_until   the last instant this attempt may take: written at claim, never extended
--   slot, phase_ms place in the period of a balanced job; offset inside `within` for the others
--   done, failed   bit masks of the leaders that have ended, and failed, for the coming run of a follower: a claim takes
--                  `done` to nothing, so that a leader which ends while its follower runs counts for the run after
--   led_slot_at    the slot that the coming run of a follower will be for
CREATE TABLE rota.turn (
    id              {id},
    job             text NOT NULL,
    roster          text,
    member          text,
    key             text,
    args            text,
    standing        integer NOT NULL,
    due_at          bigint,
    slot_at         bigint,
    priority        integer NOT NULL,
    state           text NOT NULL DEFAULT 'waiting',
    paused          integer NOT NULL DEFAULT 0,
    manual          integer NOT NULL DEFAULT 0,
    caught          integer NOT NULL DEFAULT 0,
    run             integer NOT NULL DEFAULT 1,
    attempt         integer NOT NULL DEFAULT 0,
    tries           integer NOT NULL DEFAULT 0,
    losses          integer NOT NULL DEFAULT 0,
    cancel          integer NOT NULL DEFAULT 0,
    on_end          integer NOT NULL DEFAULT 0,
    era             integer NOT NULL DEFAULT 0,
    waited_ms       bigint NOT NULL DEFAULT 0,
    worker          text,
    leased_until    bigint,
    start_at        bigint,
    prior_start_at  bigint,
    slot            integer,
    nth             integer,
    phase_ms        bigint NOT NULL DEFAULT 0,
    pinned          integer NOT NULL DEFAULT 0,
    done            integer NOT NULL DEFAULT 0,
    failed          integer NOT NULL DEFAULT 0,
    led_slot_at     bigint,
    steps           text,
    progress        text,
    result          text,
    reason          text,
    last_success_at bigint,
    stale_at        bigint,
    failing_since   bigint,
    error           text,
    CHECK (state IN ('waiting', 'running', 'held')),
    CHECK ((state = 'running') = (worker IS NOT NULL)),
    CHECK ((state = 'running') = (leased_until IS NOT NULL))
){fill};
CREATE UNIQUE INDEX turn_member ON rota.turn (job, roster, member) WHERE member IS NOT NULL;
CREATE UNIQUE INDEX turn_alone ON rota.turn (job) WHERE member IS NULL AND standing = 1;
CREATE INDEX turn_due ON rota.turn (job, priority, due_at, id) WHERE state = 'waiting' AND paused = 0 AND due_at IS NOT NULL;
CREATE INDEX turn_running ON rota.turn (worker, job) WHERE state = 'running';
CREATE INDEX turn_of_member ON rota.turn (roster, member) WHERE member IS NOT NULL;
CREATE INDEX turn_held ON rota.turn (job, id) WHERE state = 'held';
CREATE INDEX turn_stale ON rota.turn (job, stale_at) WHERE stale_at IS NOT NULL;

-- Keys of one-offs outlive the turn, so that repeating an unknown enqueue is safe.
CREATE TABLE rota.key (
    job         text NOT NULL,
    key         text NOT NULL,
    turn        bigint NOT NULL,
    remember_ms bigint NOT NULL,
    expires_at  bigint,
    PRIMARY KEY (job, key)
);
CREATE INDEX key_expires ON rota.key (expires_at) WHERE expires_at IS NOT NULL;

-- Load of each slot of each balanced job: `load` is the sum of weights, `placed` only goes up.
CREATE TABLE rota.slot (
    job    text NOT NULL,
    slot   integer NOT NULL,
    load   bigint NOT NULL,
    placed bigint NOT NULL,
    PRIMARY KEY (job, slot)
);

-- Append-only: one row for each attempt when it ends, one for each skipped slot (or `slots` of them in one row).
{journal sequence}
CREATE TABLE rota.journal (
    id         {id journal},
    turn       bigint NOT NULL,
    run        integer NOT NULL,
    attempt    integer NOT NULL,
    job        text NOT NULL,
    roster     text,
    member     text,
    slot_at    bigint,
    due_at     bigint,
    started_at bigint,
    ended_at   bigint NOT NULL,
    worker     text,
    outcome    text NOT NULL,
    reason     text,
    link       text,
    error      text,
    slots      integer NOT NULL DEFAULT 1
){journal};
CREATE INDEX journal_turn ON rota.journal (turn, run);
{journal index}

CREATE TABLE rota.dead_letter (
    id          {id},
    turn        bigint NOT NULL,
    run         integer NOT NULL,
    job         text NOT NULL,
    roster      text,
    member      text,
    key         text,
    args        text,
    slot_at     bigint,
    tries       integer NOT NULL,
    losses      integer NOT NULL,
    reason      text NOT NULL,
    error       text,
    died_at     bigint NOT NULL,
    requeued_at bigint,
    requeued_as text
);
CREATE INDEX dead_letter_open ON rota.dead_letter (job, died_at) WHERE requeued_at IS NULL;
CREATE INDEX dead_letter_turn ON rota.dead_letter (turn, run);
CREATE INDEX dead_letter_error ON rota.dead_letter (error) WHERE requeued_at IS NULL;
CREATE INDEX dead_letter_died ON rota.dead_letter (died_at);

-- Failures by cause: one row for each (job, fingerprint).
CREATE TABLE rota.error (
    job         text NOT NULL,
    fingerprint text NOT NULL,
    kind        text NOT NULL,
    message     text NOT NULL,
    place       text,
    traceback   text,
    first_at    bigint NOT NULL,
    last_at     bigint NOT NULL,
    count       bigint NOT NULL,
    turn        bigint,
    run         integer,
    PRIMARY KEY (job, fingerprint)
);

-- Hour buckets, one row for each worker, so that no two processes wait for one row; a chore folds old ones.
CREATE TABLE rota.rollup (
    job       text NOT NULL,
    hour_at   bigint NOT NULL,
    worker    text NOT NULL,
    runs      bigint NOT NULL DEFAULT 0,
    succeeded bigint NOT NULL DEFAULT 0,
    retry     bigint NOT NULL DEFAULT 0,
    dead      bigint NOT NULL DEFAULT 0,
    skipped   bigint NOT NULL DEFAULT 0,
    other     bigint NOT NULL DEFAULT 0,
    busy_ms   bigint NOT NULL DEFAULT 0,
    late_ms   bigint NOT NULL DEFAULT 0,
    durations text,
    delays    text,
    PRIMARY KEY (job, hour_at, worker)
);
CREATE INDEX rollup_hour ON rota.rollup (hour_at);

-- Members of each (roster, job) by state, recounted by a chore; pages and `status` read this.
CREATE TABLE rota.freshness (
    roster     text NOT NULL,
    job        text NOT NULL,
    members    bigint NOT NULL,
    fresh      bigint NOT NULL,
    late       bigint NOT NULL,
    stale      bigint NOT NULL,
    new        bigint NOT NULL,
    paused     bigint NOT NULL,
    oldest_at  bigint,
    counted_at bigint NOT NULL,
    PRIMARY KEY (roster, job)
);

-- A worker's incarnation and its lease: one row, one update every third of the lease.
CREATE TABLE rota.worker (
    incarnation text PRIMARY KEY,
    name        text NOT NULL,
    kind        text NOT NULL,
    version     text NOT NULL,
    started_at  bigint NOT NULL,
    beat_at     bigint NOT NULL,
    lease_until bigint NOT NULL,
    concurrency integer NOT NULL,
    queues      text NOT NULL,
    running     integer NOT NULL DEFAULT 0,
    note        text
);

-- Small leases: the tick, the chores.
CREATE TABLE rota.lease (
    name   text PRIMARY KEY,
    holder text NOT NULL,
    until  bigint NOT NULL
);

-- Pauses and the emergency stop (scope 'all'); ended ones stay as the record of what was paused when.
-- `catch_up` and `spread_ms`: how the resume of everything said that missed slots are made up, over the jobs' own words.
CREATE TABLE rota.pause (
    id       {id},
    scope    text NOT NULL,
    name     text NOT NULL,
    by       text NOT NULL,
    reason   text NOT NULL,
    since    bigint NOT NULL,
    until    bigint,
    ended_at bigint,
    catch_up  text,
    spread_ms bigint,
    CHECK (scope IN ('all', 'job', 'roster', 'member'))
);
CREATE UNIQUE INDEX pause_active ON rota.pause (scope, name) WHERE ended_at IS NULL;
CREATE INDEX pause_ended ON rota.pause (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE rota.audit (
    id      {id},
    at      bigint NOT NULL,
    by      text NOT NULL,
    act     text NOT NULL,
    target  text NOT NULL,
    count   bigint NOT NULL,
    reason  text,
    detail  text
);
CREATE INDEX audit_at ON rota.audit (at);

CREATE TABLE rota.cache (
    key        text PRIMARY KEY,
    value      {bytes} NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX cache_expires ON rota.cache (expires_at);
