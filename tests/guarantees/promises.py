"""The promises, and what proves each: tests by file and name, and scenarios by the records that their runs leave.

Always true: every promise stands here, also one that nothing proves yet, which then says so; every test that is named
exists (test_guarantees.py).

Not here: figures, which come from runs (page.py).
"""

from typing import NamedTuple


class Promise(NamedTuple):
    """One promise: its name, what it says, the tests ("file::function"), the scenarios, and what is still open."""

    name: str
    says: str
    tests: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    open: str = ""


_CONTRACT = "store/test_contract.py::test_any_script_on_postgresql_does_what_the_model_says"
_CRASH = "store/test_crash_matrix.py::test_on_postgresql_an_operation_that_fails_at_any_statement_changed_nothing"
_SIM = "sim/test_simulation.py::test_in_every_world_nothing_false_is_seen_and_all_of_it_heals"
_KILLED = "e2e/test_crashes.py::test_workers_killed_in_a_loop_lose_nothing_and_start_no_more_again_than_was_in_flight"
_STOP = "e2e/test_crashes.py::test_a_worker_told_to_stop_ends_or_gives_back_what_runs_and_is_gone_within_its_grace"
_STOPPED = (
    "e2e/test_together.py::test_after_a_stop_has_returned_nothing_is_claimed_and_nothing_starts_two_seconds_later"
)
_FROZEN = "e2e/test_crashes.py::test_a_worker_frozen_past_its_lease_can_end_nothing_when_it_thaws_and_goes_on_working"
_RELEASES = "e2e/test_together.py::test_two_releases_share_a_store_and_the_older_leaves_alone_what_it_does_not_know"
_LATER = "with the HTTP API"

PROMISES: tuple[Promise, ...] = (
    Promise("G-1", "Nothing acknowledged is lost", (_KILLED, _CRASH, _SIM), ("C-1", "C-3", "P-7", "P-10")),
    Promise(
        "G-2",
        "Repeating an unknown call with its key gives one run, and the repeat tells which",
        (
            "store/test_crash_matrix.py::test_on_postgresql_a_lost_answer_of_the_commit_is_unknown_and_a_repeat_adds_nothing",
            "store/test_races.py::test_the_same_key_enqueued_twice_at_once_gives_one_run_and_both_learn_which",
            "engine/test_one_offs.py::test_a_key_is_remembered_for_a_day_after_the_run_has_ended",
        ),
        ("C-4",),
    ),
    Promise("G-3", "What is due is started at least once, also after its worker died", (_KILLED, _SIM), ("C-1",)),
    Promise("G-4", "A second start needs a retry or a lost lease", (_KILLED, _SIM), ("C-1", "C-12", "P-6")),
    Promise(
        "G-5",
        "Each attempt has one end at most, each run one outcome",
        (_CONTRACT, "store/test_races.py::test_a_settle_that_waits_for_a_reap_is_refused"),
        ("C-2", "C-4"),
    ),
    Promise(
        "G-6",
        "Effects inside the run's transaction commit with its success, or not at all",
        (
            "engine/test_inside_effects.py::test_a_run_completed_in_the_callers_transaction_succeeds_with_its_commit",
            "engine/test_inside_effects.py::test_an_attempt_whose_lease_was_taken_cannot_complete_and_leaves_no_effect",
            "store/test_foreign_matrix.py::test_a_completion_stands_or_falls_with_its_callers_transaction",
        ),
        ("C-1", "C-4"),
    ),
    Promise("G-7", "A worker whose lease was given away can change nothing of that run", (_FROZEN, _SIM), ("C-2",)),
    Promise(
        "G-8",
        "Losses are counted apart from tries, and too many are poison",
        ("engine/test_losses.py::test_after_three_losses_a_run_is_poison",),
        ("C-11",),
    ),
    Promise("G-9", "Runs of unknown jobs wait", (_RELEASES,), ()),
    Promise(
        "G-10",
        "Claims go by (priority, due, id); runs of one serial key never overlap and keep their order",
        (
            "engine/test_one_offs.py::test_the_smaller_priority_runs_first_then_the_longer_due",
            "engine/test_keys.py::test_runs_of_one_serial_key_never_overlap_and_keep_their_order",
            "engine/test_keys.py::test_a_serial_key_is_kept_over_the_retries_of_its_run",
        ),
        ("C-18",),
    ),
    Promise(
        "G-11",
        "No queue, cap, broken run or limit starves the others",
        (
            "engine/test_workers.py::test_a_queue_cannot_take_the_places_of_another",
            "engine/test_limits.py::test_buckets_are_keyed_by_what_a_run_brings_and_do_not_keep_each_other_waiting",
        ),
        ("C-17", "C-18"),
    ),
    Promise("G-12", "One run for each slot", (_SIM, _CONTRACT), ("C-16", "C-19")),
    Promise(
        "G-13",
        "Every slot has a run or a recorded reason",
        (
            _SIM,
            "engine/test_catch_up.py::test_more_than_a_hundred_missed_slots_share_a_row_and_are_still_counted",
        ),
        ("C-16",),
    ),
    Promise(
        "G-14",
        "Slots of every(T) are exactly T apart; a cool-off is kept",
        ("engine/test_catch_up.py::test_the_slots_of_every_are_exactly_one_period_apart_for_a_year", _SIM),
        ("C-9",),
    ),
    Promise(
        "G-15",
        "What was missed is made up as the job says, spread over a time",
        (
            "engine/test_catch_up.py::test_latest_makes_one_run_for_the_newest_missed_slot",
            "engine/test_workers.py::test_catching_up_after_an_outage_is_spread_and_not_a_stampede",
        ),
        ("C-16",),
    ),
    Promise(
        "G-16",
        "Wall-clock rules follow the calendar through gaps and folds",
        (
            "property/test_schedule_wallclock.py::test_daily_near_the_change_agrees_with_the_walk",
            "engine/test_calendar.py::test_a_wall_time_that_comes_twice_runs_once_the_first_time",
        ),
        (),
    ),
    Promise("G-17", "Once a stop has returned nothing is claimed, nothing starts 2 s later", (_STOPPED,), ("C-15",)),
    Promise("G-18", "SIGTERM: no more claims, gone within grace + 2 s", (_STOP,), ("C-12", "P-7")),
    Promise("G-19", "The store's clock decides", (_SIM,), ("C-9",)),
    Promise("G-20", "PostgreSQL keeps what it acknowledged", (_CRASH,), ("C-3",)),
    Promise(
        "G-21",
        "SQLite with synchronous=FULL keeps what it acknowledged",
        (
            "store/test_crash_matrix.py::test_on_sqlite_a_process_that_dies_at_any_statement_leaves_the_file_before_or_after",
        ),
        ("P-8",),
        "power loss is not simulated",
    ),
    Promise("G-22", "SQLite with synchronous=NORMAL may lose the newest commits, never torn", (), (), "not tested"),
    Promise(
        "G-23",
        "The cache changes no outcome",
        ("unit/test_cache.py::test_a_redis_that_is_gone_costs_one_wait_and_is_found_again",),
        ("C-6",),
    ),
    Promise(
        "G-24",
        "A store that is away stops claims, costs no try, and no restart is needed",
        ("e2e/test_crashes.py::test_postgres_stopped_at_once_under_load_costs_no_process_no_run_and_no_try",),
        ("C-3", "P-7"),
    ),
    Promise(
        "G-25",
        "Every input has a limit, and no claim's cost depends on history",
        ("store/test_plans.py::test_on_postgresql_a_hot_statement_reads_no_large_table_from_end_to_end",),
        ("P-1",),
    ),
    Promise("G-26", "Two releases run side by side on the newer schema", (_RELEASES,), ("C-13",)),
    Promise("G-27", "Closed by default", (), (), _LATER),
    Promise("G-28", "A member sees its own things only", (), (), _LATER),
    Promise(
        "G-29",
        "Data is not code",
        ("engine/test_one_offs.py::test_a_payload_that_is_not_json_any_more_is_a_dead_letter_with_one_sentence",),
        (),
    ),
    Promise("G-30", "Changes need intent", (), (), _LATER),
    Promise("G-31", "Secrets stay secret", (), (), "in rota.http; secret arguments are refused until they are kept"),
    Promise("G-32", "Everything an operator does is on record", (_SIM,), ()),
    Promise(
        "G-33",
        "Fetching is caged",
        ("http/test_cage.py::test_a_redirect_is_checked_like_a_first_url_at_every_hop",),
        (),
    ),
    Promise("G-34", "Load by hand is bounded", (), (), _LATER),
)
