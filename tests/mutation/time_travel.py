"""Answers about an earlier instant, and the clock of record time, broken."""

from tests.mutation.mutant import Mutant
from tests.mutation.shared_constants import (
    MAY_NOT,
    POINT_IN_TIME,
    QUERY_FILTER_TEST,
    ROLES,
    SQL_FUNCTIONS_MIGRATION,
    UNRESTRICTED_CLEARANCE,
)

MEMORY_QUERYSETS = "memoryhub/memories/querysets.py"
TIERS = "memoryhub/memories/sql/tiers.py"
RECORDS = "memoryhub/memories/records.py"
TIME_TRAVEL_QUERY = "memoryhub/timetravel/point_queries.py"

POINT_IN_TIME_TESTS = "tests/memories/test_point_in_time.py"
WATERMARK_TESTS = "tests/harness/test_watermark.py"


def time_travel_mutants() -> list[Mutant]:
    def as_of_mutant(name: str, old: str, new: str, *tests: str, file: str = MEMORY_QUERYSETS) -> Mutant:
        return Mutant(f"as of: {name}", file, old, new, tests or (POINT_IN_TIME_TESTS,))

    def point_in_time_mutant(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"point in time: {name}", POINT_IN_TIME, old, new, (POINT_IN_TIME_TESTS,))

    def query_mutant(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"time travel: {name}", TIME_TRAVEL_QUERY, old, new, tests or (POINT_IN_TIME_TESTS,))

    def clock_mutant(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"clock: {name}", SQL_FUNCTIONS_MIGRATION, old, new, (WATERMARK_TESTS,))

    firewall, record_time = f"{POINT_IN_TIME_TESTS}::TestTheFirewall", f"{POINT_IN_TIME_TESTS}::TestRecordTime"
    return [
        as_of_mutant("what is hidden now", "self.filter(self._visible_now_q(), recorded_at__lte=instant)", "self.filter(recorded_at__lte=instant)", firewall),
        as_of_mutant("what was recorded later", "self.filter(self._visible_now_q(), recorded_at__lte=instant)", "self.filter(self._visible_now_q())", record_time),
        as_of_mutant("not at its first microsecond", "recorded_at__lte=instant", "recorded_at__lt=instant", record_time),
        as_of_mutant("what was superseded by then", "not_superseded = Q(NotSupersededAt(F(\"superseded_at\"), Value(instant, DateTimeField())))", "not_superseded = Q()", record_time),
        as_of_mutant("at its last microsecond, too", "arg_joiner = \", 'infinity') > (\"", "arg_joiner = \", 'infinity') >= (\"", record_time, file=TIERS),
        as_of_mutant("what had expired by then", "Q(expires_at__isnull=True) | Q(expires_at__gt=self._expiry_instant)", "Q()", record_time),
        as_of_mutant("what expires at it", "Q(expires_at__gt=self._expiry_instant)", "Q(expires_at__gte=self._expiry_instant)", record_time),
        as_of_mutant("not what was future-dated", "bounds = [(False, self.record_time + FUTURE_DATED_AFTER), (True, MAX_INSTANT)]", "bounds = [(False, self.record_time + FUTURE_DATED_AFTER)]", record_time, file=TIERS),
        as_of_mutant("nothing that comes within a day", "bounds = [(False, self.record_time + FUTURE_DATED_AFTER),", "bounds = [(False, self.record_time),", record_time, file=TIERS),
        as_of_mutant("current value: rivals of every tier", "same_key_rows = self.filter(\n", f"same_key_rows = type(self)(self.model).visible_to({UNRESTRICTED_CLEARANCE}).filter(\n            status='active',\n", QUERY_FILTER_TEST),
        as_of_mutant("current value: rivals of every instant", "same_key_rows = self.filter(\n", "same_key_rows = type(self)(self.model).visible_to(self.clearance).filter(\n"),
        as_of_mutant("current value: without a subject", "self.exclude(subject=\"\").filter(IsNull(Subquery(later_values", "self.filter(IsNull(Subquery(later_values"),
        as_of_mutant("current value: the first", 'RowComparison(VALUE_ORDER, ">",', 'RowComparison(VALUE_ORDER, "<",'),
        point_in_time_mutant("current versions: every event", "return current_rows.filter(timestamp__lte=self.as_of) if self.as_of else current_rows", "return current_rows"),
        point_in_time_mutant("current versions: not at its own microsecond", "return current_rows.filter(timestamp__lte=self.as_of)", "return current_rows.filter(timestamp__lt=self.as_of)"),
        point_in_time_mutant("current versions: what is known now", "rows.current() if self.known_at is None else rows.known_at(self.known_at)", "rows.current()"),
        point_in_time_mutant("versions: what is known now", "known_rows = rows if self.known_at is None else rows.recorded_by(self.known_at)", "known_rows = rows"),
        point_in_time_mutant("resolve: what is still to come", "min(as_of, now or clock.database_now())", "as_of"),
        Mutant("records: when a version will end", RECORDS, 'record["superseded_at"] = None', "pass", (record_time,)),
        query_mutant("all rows", "pinned_params, clearance=principal.clearance, extra_params=TIME_TRAVEL_PARAMS", f"pinned_params, clearance={UNRESTRICTED_CLEARANCE}, extra_params=TIME_TRAVEL_PARAMS", QUERY_FILTER_TEST),
        query_mutant("pages of now", "pinned_params[\"known_at\"] = known_at.isoformat()", "pinned_params[\"known_at\"] = clock.stable_record_time().isoformat()", record_time),
        query_mutant("what was erased is not counted", 'filters.qs.filter(status="erased")', 'filters.qs.filter(status="retired")', record_time),
        clock_mutant("a reported instant comes again", "greatest(last_instant, record_time_watermark()) + interval '1 microsecond'", "last_instant + interval '1 microsecond'"),
        clock_mutant("the next instant is computed before the lock is taken", "    last_instant timestamptz := record_time_lock();\n    next_instant timestamptz;\nBEGIN\n    next_instant := greatest(\n        clock_timestamp(), greatest(last_instant, record_time_watermark()) + interval '1 microsecond'\n    );", "    next_instant timestamptz := greatest(clock_timestamp(), record_time_watermark() + interval '1 microsecond');\n    last_instant timestamptz := record_time_lock();\nBEGIN\n    next_instant := greatest(next_instant, last_instant + interval '1 microsecond');"),
        clock_mutant("nothing is reported", "        PERFORM setval('record_time_watermark', (extract(epoch FROM stable) * 1000000)::bigint)\n        WHERE stable > record_time_watermark();\n", ""),
        clock_mutant("a reader keeps it", "        RAISE SQLSTATE 'MH000';\n", ""),
        clock_mutant("a reader waits for nobody", "    IF requested <= stable THEN\n", "    IF true THEN\n"),
        clock_mutant("the status waits", "PERFORM set_config('lock_timeout', '100ms', true);", "NULL;"),
        Mutant("grant: the watermark can be set", ROLES, "sql.SQL(\"REVOKE ALL ON SEQUENCE record_time_watermark FROM {}\").format(role_identifier),", "", (MAY_NOT,)),
    ]  # fmt: skip
