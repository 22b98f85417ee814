"""Each place that applies the rule, broken: what is put in place of what, and the tests that must notice."""

from tests.mutation import availability, canonical_values, filters_and_history, input_limits, operations, transfer
from tests.mutation.labels import label_mutants
from tests.mutation.mutant import Mutant
from tests.mutation.secrets import secret_mutants
from tests.mutation.writes import write_mutants

CLEARANCE_TYPES = "memoryhub/firewall/clearance.py"
PRINCIPAL_TYPE = "memoryhub/firewall/principal.py"
FIREWALL_QUERYSETS = "memoryhub/firewall/querysets.py"
CLEARANCE_SNAPSHOT = "memoryhub/firewall/clearance_snapshot.py"
RLS = "memoryhub/firewall/rls.py"
CURSOR_BINDING = "memoryhub/firewall/cursors.py"
CURSOR_CODEC = "memoryhub/core/cursors.py"
MEMORY_RLS_MIGRATION = "memoryhub/memories/migrations/0004_row_level_security.py"
CLEARANCE_SETTINGS_MIGRATION = "memoryhub/firewall/migrations/0002_clearance_settings.py"
SQL_FUNCTIONS_MIGRATION = "memoryhub/memories/migrations/0001_sql_functions.py"
ROLES = "memoryhub/operations/database_roles.py"
MEMORY_QUERYSETS = "memoryhub/memories/querysets.py"
TIERS = "memoryhub/memories/sql/tiers.py"
FILTERS = "memoryhub/memories/filters.py"
POINT_IN_TIME = "memoryhub/memories/point_in_time.py"
RECORDS = "memoryhub/memories/records.py"
TIME_TRAVEL_QUERY = "memoryhub/timetravel/point_queries.py"
MEMORY_TABLES_MIGRATION = "memoryhub/memories/migrations/0002_tables.py"
PLAN_COST_TESTS = "tests/harness/test_plan_costs.py"
FACETS = "memoryhub/memories/facets.py"
PAGES = "memoryhub/memories/pagination.py"
MEMORY_WRITE = "memoryhub/memories/writes/write.py"
CLASSIFY = "memoryhub/memories/writes/classify.py"
STATUS = "memoryhub/operations/status.py"
JSONL_EXPORT = "memoryhub/transfer/jsonl_export.py"
AUDIT_QUERIES = "memoryhub/access_log/audit_queries.py"
AUDIT_LOG = "memoryhub/audit/log.py"
AUDIT_SCHEMA_MIGRATION = "memoryhub/audit/migrations/0001_tables.py"
AUDIT_RLS_MIGRATION = "memoryhub/audit/migrations/0002_row_level_security.py"
AUDIT_LOCK_MIGRATION = "memoryhub/audit/migrations/0003_lock_head.py"
API = "memoryhub/api/native/memories.py"
CURATION_VIEWS = "memoryhub/api/native/curation.py"
DECISIONS = "memoryhub/conflicts/decisions/querysets.py"
DECISION_POLICIES = "memoryhub/conflicts/migrations/0002_row_level_security.py"
RESOLUTION_PLAN = "memoryhub/conflicts/decisions/plans.py"
RESOLVE = "memoryhub/conflicts/decisions/resolve.py"
DECISION_QUERIES = "memoryhub/conflicts/decisions/decision_queries.py"
OPEN_GROUPS = "memoryhub/conflicts/groups/open_groups.py"
GROUPS = "memoryhub/conflicts/groups/groups.py"
POLICY_EVALUATION = "memoryhub/conflicts/policies/policy_evaluation.py"
OPEN_GROUP_TESTS = "tests/conflicts/groups/test_open_groups.py"
OPEN_GROUP_ORACLE_TEST = (
    "tests/conflicts/groups/test_open_groups.py::test_lists_queue_dry_run_and_marks_agree_with_the_recount"
)
GROUP_KEY_QUERIES = "memoryhub/conflicts/groups/group_queries.py"
CONFLICT_POLICIES = "memoryhub/conflicts/policies/policies.py"
RUNS = "memoryhub/conflicts/policies/policy_runs.py"
SUBJECT_DECISIONS = "inspector/presenters/subject_decisions.py"
CLAIMS = "memoryhub/conflicts/decisions/claims.py"
REJECTED_VALUES = "memoryhub/memories/writes/rejected_values.py"
AUTHENTICATION = "memoryhub/api/authentication.py"
PERMISSIONS = "memoryhub/api/permissions.py"
PRINCIPAL_LOOKUP = "memoryhub/firewall/principal_lookup.py"
INSPECTOR_AUTH = "inspector/auth.py"
MEMORY_VIEWS = "inspector/views/memories.py"

UNRESTRICTED_CLEARANCE = "__import__('memoryhub.firewall.clearance').firewall.clearance.unrestricted_clearance()"

PARITY_TESTS = "tests/firewall/test_rule_parity.py"
RULE_EDGE_TEST = f"{PARITY_TESTS}::test_a_rule_at_its_edge"
AUDIT_RLS_TESTS = "tests/audit/test_row_security.py"
NONINTERFERENCE_TESTS = "tests/noninterference/test_reads.py"
STORY_TEST = f"{NONINTERFERENCE_TESTS}::test_a_hundred_hidden_rows_between_two_change_nothing_at_any_endpoint"
QUERY_FILTER_TEST = f"{STORY_TEST}[query filter alone]"
ROW_SECURITY_TEST = f"{STORY_TEST}[row security alone]"
EXPORT = f"{NONINTERFERENCE_TESTS}::test_an_export_holds_what_its_reader_may_see_and_nothing_else"
ROW_SECURITY = "tests/harness/test_row_security.py"
SAME_ROWS = f"{ROW_SECURITY}::test_query_filter_and_row_security_show_the_same_rows"
MAY_NOT = f"{ROW_SECURITY}::test_the_application_may_not"
GRANTED_AGAIN = f"{ROW_SECURITY}::test_what_the_application_had_too_much_is_taken_when_it_is_granted_again"
ONE_CONNECTION = f"{ROW_SECURITY}::test_high_and_low_in_turn_on_one_connection_leak_nothing"
QUARANTINE_TESTS = "tests/firewall/test_quarantine.py"
QUARANTINED_ROLLUPS_TEST = (
    "tests/harness/test_row_security.py::test_query_filter_and_row_security_hide_the_rollups_of_quarantined_memories"
)
EMPTIED_LOG_TEST = (
    "tests/audit/test_verify.py::test_an_emptied_audit_log_is_broken_if_there_is_data_that_it_must_have_recorded"
)
RECOUNT_TEST = "tests/memories/test_facets_and_histogram.py::test_every_count_is_what_a_recount_finds"
AUTHORIZATION_TEST = "tests/test_authorization.py::test_every_caller_gets_what_the_table_says"
READING_TESTS = "tests/api/native/test_reads.py"
PAGINATION_TESTS = "tests/api/native/test_pagination.py"
AUTHENTICATION_TESTS = "tests/api/test_authentication.py"
CURSORS = f"{PAGINATION_TESTS}::TestCursors"
READ_LOG_TESTS = "tests/access_log/test_read_log.py"
AUDIT_QUERY_TESTS = "tests/access_log/test_queries.py"
CLASSIFY_TESTS = "tests/memories/test_classify.py"
POINT_IN_TIME_TESTS = "tests/memories/test_point_in_time.py"
WATERMARK_TESTS = "tests/harness/test_watermark.py"
DEFENCE_TESTS = "tests/conflicts/decisions/test_visibility.py"
SUBJECT_DECISION_TESTS = "tests/inspector/test_subject_history.py::TestDecisions"
RESOLVE_TESTS = "tests/conflicts/decisions/test_resolve.py"


def _clearance_rule_mutants() -> list[Mutant]:
    def sql_mutant(name: str, old: str, new: str) -> Mutant:
        return Mutant(name, FIREWALL_QUERYSETS, old, new, (RULE_EDGE_TEST, PARITY_TESTS))

    def python_mutant(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(name, CLEARANCE_TYPES, old, new, tests or (RULE_EDGE_TEST, PARITY_TESTS))

    def covers_mutant(name: str, old: str, new: str = "True") -> Mutant:
        return Mutant(f"covers: {name}", CLEARANCE_TYPES, old, new, (AUDIT_RLS_TESTS,))

    def covered_mutant(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"covered_by: {name}", CLEARANCE_SNAPSHOT, old, new, (AUDIT_RLS_TESTS,))

    return [
        sql_mutant("visible: no namespaces", "condition &= Q(namespace__in=sorted(clearance.namespaces))", "pass"),
        sql_mutant("visible: no blocked labels", "condition &= ~Q(normalized_labels__overlap=", "Q(normalized_labels__overlap="),
        sql_mutant("visible: blocked labels inverted", "condition &= ~Q(normalized_labels__overlap=", "condition &= Q(normalized_labels__overlap="),
        sql_mutant("visible: no tiers", "condition &= Q(classification_tier__in=stored_tier_values(clearance))", "pass"),
        sql_mutant(
            "visible: tiers inverted",
            "condition &= Q(classification_tier__in=stored_tier_values(clearance))",
            "condition &= ~Q(classification_tier__in=stored_tier_values(clearance))",
        ),
        sql_mutant(
            "visible: no required labels",
            "condition &= Q(normalized_labels__contains=sorted(normalize_labels(clearance.required_labels)))",
            "pass",
        ),
        sql_mutant(
            "visible: one required label is enough",
            "condition &= Q(normalized_labels__contains=sorted(normalize_labels(clearance.required_labels)))",
            "condition &= Q(normalized_labels__overlap=sorted(normalize_labels(clearance.required_labels)))",
        ),
        sql_mutant("visible: the empty tier for everybody", '["", *tiers] if tiers else []', "[\"\", *tiers]"),
        sql_mutant("visible: the empty tier for nobody", '["", *tiers] if tiers else []', "tiers"),
        python_mutant("tiers: one too many", "tier_order.index(self.max_tier) + 1]", "tier_order.index(self.max_tier) + 2]"),
        python_mutant("tiers: an unknown one reaches all", "if self.max_tier in tier_order else []", "if self.max_tier in tier_order else tier_order"),
        python_mutant("permits: no namespaces", "if self.namespaces is not None and row.namespace", "if False and row.namespace"),
        python_mutant("permits: no blocked labels", "if labels & normalize_labels(self.blocked_labels):", "if False:"),
        python_mutant("permits: no tiers", "if row.classification_tier not in tiers and not", "if False and not"),
        python_mutant(
            "permits: the empty tier for everybody",
            '(row.classification_tier == "" and tiers)',
            '(row.classification_tier == "")',
        ),
        python_mutant(
            "permits: no required labels", "return normalize_labels(self.required_labels) <= labels", "return True"
        ),
        python_mutant("meet: the higher tier", "lower_clearance = min(self, other", "lower_clearance = max(self, other"),
        python_mutant("meet: one's own blocked labels", "blocked_labels=self.blocked_labels | other.blocked_labels", "blocked_labels=self.blocked_labels"),
        python_mutant("meet: one's own required labels", "required_labels=self.required_labels | other.required_labels", "required_labels=self.required_labels"),
        python_mutant("meet: the namespaces of either", "frozenset.intersection(*namespace_sets)", "frozenset.union(*namespace_sets)"),
        covers_mutant("tiers", "set(other.visible_tiers()) <= set(self.visible_tiers())"),
        covers_mutant("blocked labels", "normalize_labels(self.blocked_labels) <= normalize_labels(other.blocked_labels)"),
        covers_mutant("required labels", "normalize_labels(self.required_labels) <= normalize_labels(other.required_labels)"),
        covers_mutant("every namespace", "(other.namespaces is not None and other.namespaces <= self.namespaces)", "other.namespaces is None"),
        covers_mutant("namespaces", "and other.namespaces <= self.namespaces", "and True"),
        Mutant("quarantine: seen by everybody", FIREWALL_QUERYSETS, "if not clearance.sees_quarantined:", "if False:", (QUARANTINE_TESTS,)),
        Mutant("quarantine: seen despite row security", MEMORY_RLS_MIGRATION, "status <> 'quarantined' OR", "true OR", (QUARANTINED_ROLLUPS_TEST,)),
        Mutant("quarantine: a status that everybody knows", FILTERS, "if status != QUARANTINED or clearance.sees_quarantined", "if True", (QUARANTINE_TESTS,)),
        Mutant("quarantine: seen by who only reads", PRINCIPAL_TYPE, "sees_quarantined=self.has_scope(Scope.CURATE)", "sees_quarantined=self.has_scope(Scope.READ)", (QUARANTINE_TESTS,)),
        Mutant("quarantine: seen through view-as", "memoryhub/firewall/view_as.py", "(Scope.WRITE, Scope.DECLASSIFY, ", "(Scope.WRITE, Scope.CURATE, Scope.DECLASSIFY, ", (QUARANTINE_TESTS,)),
        Mutant("quarantine: cursors of before are used with other scopes", CURSOR_BINDING, "            clearance.sees_quarantined,\n", "", (QUARANTINE_TESTS,)),
        covered_mutant("tiers", "conditions = {\"tiers__contained_by\": snapshot.tiers}", "conditions = {\"tiers__isnull\": False}"),
        covered_mutant("blocked labels", "conditions[\"blocked_labels__contains\"] = snapshot.blocked_labels", "pass"),
        covered_mutant("required labels", "conditions[\"required_labels__contains\"] = snapshot.required_labels", "pass"),
        covered_mutant("namespaces", "conditions[\"namespaces__contained_by\"] = snapshot.namespaces", "pass"),
        python_mutant("widens: a lower tier does not", "is_lower_tier(after.classification_tier, before.classification_tier)", "False", CLASSIFY_TESTS),
        python_mutant("widens: a label less does not", "not normalize_labels(before.sensitivity_labels) <= normalize_labels(after.sensitivity_labels)", "False", CLASSIFY_TESTS),
        python_mutant("widens: a required label does not", "any(clearance.permits(after) and not clearance.permits(before) for clearance in clearances)", "False", CLASSIFY_TESTS),
    ]  # fmt: skip


def _query_filter_mutants() -> list[Mutant]:
    """Row security would hide what these let through, so it is off in their tests."""

    def leak_mutant(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(name, file, old, new, tests or (QUERY_FILTER_TEST,))

    return [
        leak_mutant("visible_to: everything", FIREWALL_QUERYSETS, "return self.filter(visible_rows_q(clearance))", "return self.all()"),
        leak_mutant("filters: all rows", FILTERS, "Memory.objects.visible_to(clearance)", "Memory.objects.all()", f"{PAGINATION_TESTS}::TestPages"),
        leak_mutant("filters: the rows of who sees every tier", FILTERS, "Memory.objects.visible_to(clearance)", f"Memory.objects.visible_to({UNRESTRICTED_CLEARANCE})"),
        leak_mutant("versions: whatever is current", POINT_IN_TIME, ".filter(Exists(self.current_versions(rows).with_id(memory_id)))", "", f"{CLASSIFY_TESTS}::TestReaders"),
        leak_mutant("API: one memory", API, "visible_memories = point_in_time.current_versions(Memory.objects.visible_to(get_principal(request).clearance))", "visible_memories = point_in_time.current_versions(Memory.objects.all())"),
        leak_mutant("API: versions", API, "        visible_memories = Memory.objects.visible_to(get_principal(request).clearance)\n", "        visible_memories = Memory.objects.all()\n"),
        leak_mutant("page: one memory", MEMORY_VIEWS, "filters.point_in_time.versions_of(filters.visible_versions, memory_id)", "filters.point_in_time.versions_of(Memory.objects.all(), memory_id)"),
        leak_mutant("page: one memory that was not there then", MEMORY_VIEWS, "NOW.versions_of(Memory.objects.visible_to(request.principal.clearance), memory_id)", "NOW.versions_of(Memory.objects.all(), memory_id)"),
        leak_mutant("page: a classification", "inspector/views/classify.py", "NOW.versions_of(Memory.objects.visible_to(request.principal.clearance), memory_id)[:1]", "NOW.versions_of(Memory.objects.all(), memory_id)[:1]"),
        leak_mutant("page: related memories", MEMORY_VIEWS, "filters.point_in_time.current_versions(filters.visible_versions).related_to(key_memory)", f"filters.point_in_time.current_versions(Memory.objects.visible_to({UNRESTRICTED_CLEARANCE})).related_to(key_memory)"),
        leak_mutant("facets: rollups", FACETS, "ClassifiedQuerySet(model).visible_to(filters.clearance).filter(count__gt=0)", "ClassifiedQuerySet(model).filter(count__gt=0)"),
        leak_mutant("status: counts by namespace", FACETS, "return ClassifiedQuerySet(MemoryRollup).visible_to(clearance)", "return ClassifiedQuerySet(MemoryRollup).all()"),
        leak_mutant("status: totals", FACETS, '.filter(dimension="total").visible_to(clearance)', '.filter(dimension="total")', RECOUNT_TEST),
        leak_mutant("status: what has a time to live", FACETS, "expiring_memories = Memory.objects.visible_to(clearance).current()", f"expiring_memories = Memory.objects.visible_to({UNRESTRICTED_CLEARANCE}).current()"),
        leak_mutant("status: the writes of the last minute", STATUS, "visible_versions = Memory.objects.visible_to(clearance)", "visible_versions = Memory.objects.all()"),
        leak_mutant("totals: for who is bound to namespaces", FACETS, "if not values.keys() <= columns.keys() or (is_namespace_bound and \"namespace\" not in columns):", "if not values.keys() <= columns.keys():"),
        leak_mutant("export: all versions", JSONL_EXPORT, "filters.point_in_time.known_versions(filters.visible_versions).with_ids(", "type(filters.visible_versions)(filters.visible_versions.model).with_ids(", EXPORT),
        leak_mutant("reclassify: one memory", CLASSIFY, "rows = _fetch_rows(memories.visible_to(principal.clearance))", "rows = _fetch_rows(memories)", f"{CLASSIFY_TESTS}::TestPermissions"),
        leak_mutant("reclassify: the row that is locked", CLASSIFY, "visible_rows = Memory.objects.visible_to(principal.clearance).current().filter(id__in=row_ids)", "visible_rows = Memory.objects.filter(id__in=row_ids)", f"{CLASSIFY_TESTS}::TestMany", f"{CLASSIFY_TESTS}::test_of_two_stewards_at_once_one_wins"),
        leak_mutant("reclassify: undo", CLASSIFY, "visible_memories = Memory.objects.visible_to(principal.clearance)\n        rows", "visible_memories = Memory.objects.all()\n        rows", f"{CLASSIFY_TESTS}::TestUndo"),
    ]  # fmt: skip


def _row_security_mutants() -> list[Mutant]:
    def rls_mutant(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"rls: {name}", RLS, old, new, tests or (SAME_ROWS,))

    def policy_mutant(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"policy: {name}", MEMORY_RLS_MIGRATION, old, new, tests or (SAME_ROWS,))

    def grant_mutant(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"grant: {name}", ROLES, old, new, (MAY_NOT, GRANTED_AGAIN))

    nothing_visible_test = f"{ROW_SECURITY}::test_who_does_not_say_who_asks_sees_nothing_and_no_error"
    missing = f"{ROW_SECURITY}::test_one_setting_that_is_missing_hides_everything"
    other_source_test = f"{ROW_SECURITY}::test_nobody_writes_under_a_source_that_is_not_theirs"
    forced_policy_test = (
        f"{ROW_SECURITY}::test_every_table_that_the_application_reaches_has_a_forced_policy_or_a_reason"
    )
    claim = f"{ROW_SECURITY}::test_the_application_cannot_claim_another_record_time"
    own_source_test = f"{ROW_SECURITY}::test_a_writer_sees_the_rows_of_its_own_source_alone"
    totals = f"{ROW_SECURITY}::test_totals_that_know_no_namespace_answer_nobody_who_is_bound_to_some"
    return [
        rls_mutant("no tiers", "_format_text_array(stored_tier_values(clearance)),", '"",'),
        rls_mutant("every tier", "_format_text_array(stored_tier_values(clearance)),", "_format_text_array([\"\", \"public\", \"internal\", \"confidential\", \"restricted\"]),"),
        rls_mutant("the empty tier for everybody", "_format_text_array(stored_tier_values(clearance)),", "_format_text_array({\"\", *stored_tier_values(clearance)}),"),
        rls_mutant("no blocked labels", "_format_text_array(normalize_labels(clearance.blocked_labels)),", '"{}",'),
        rls_mutant("blocked labels as they are spelled", "_format_text_array(normalize_labels(clearance.blocked_labels)),", "_format_text_array(clearance.blocked_labels),"),
        rls_mutant("no required labels", "_format_text_array(normalize_labels(clearance.required_labels)),", '"{}",'),
        rls_mutant("every namespace", "ALL if clearance.namespaces is None else _format_text_array(clearance.namespaces)", "ALL"),
        rls_mutant("names that are not quoted", '.replace("\\\\", "\\\\\\\\")', ""),
        rls_mutant("the session, for good", "set_config('memoryhub.{name}', %s, true)", "set_config('memoryhub.{name}', %s, false)", ONE_CONNECTION),
        rls_mutant("what held before holds no more", "if previous_settings is not None:", "if False:", nothing_visible_test),
        rls_mutant("every source may be written", "ALL if sources is None else _format_text_array(sources)", "ALL", own_source_test, other_source_test),
        Mutant("rls_scoped: no clearance is set", PERMISSIONS, "with rls.as_reader(get_principal(request).clearance):", "if True:", (f"{PAGINATION_TESTS}::TestPages",)),
        Mutant("rls_scoped: not the list", API, "@docs.memories_list\n    @rls_scoped\n", "@docs.memories_list\n", (f"{PAGINATION_TESTS}::TestPages",)),
        Mutant("rls_scoped: not the detail", API, "@docs.memory_detail\n    @rls_scoped\n", "@docs.memory_detail\n", (f"{READING_TESTS}::TestOneMemory",)),
        Mutant("rls_scoped: not the facets", API, "@docs.facets\n    @rls_scoped\n", "@docs.facets\n", (f"{READING_TESTS}::TestCounts",)),
        Mutant("pages: no clearance is set", INSPECTOR_AUTH, "with rls.as_reader(request.principal.clearance):\n            response = view(request, *args, **kwargs)\n        return _set_private_no_store(response)\n\n    return guarded_view\n\n\ndef user_required", "if True:\n            response = view(request, *args, **kwargs)\n        return _set_private_no_store(response)\n\n    return guarded_view\n\n\ndef user_required", ("tests/inspector/test_pages.py",)),
        policy_mutant("no namespaces", 'NAMESPACE = f"({ALL_NAMESPACES} OR namespace = ANY', 'NAMESPACE = f"(true OR {ALL_NAMESPACES} OR namespace = ANY'),
        policy_mutant("no blocked labels", "AND NOT normalized_labels && (SELECT firewall_setting_array('blocked_labels'))", ""),
        policy_mutant("blocked labels inverted", "AND NOT normalized_labels &&", "AND normalized_labels &&"),
        policy_mutant("no tiers", "AND classification_tier = ANY ((SELECT firewall_setting_array('tiers'))::varchar[])", ""),
        policy_mutant("no required labels", "AND normalized_labels @> (SELECT firewall_setting_array('required_labels'))", ""),
        policy_mutant("one required label is enough", "AND normalized_labels @> (SELECT firewall_setting_array('required_labels'))", "AND normalized_labels && (SELECT firewall_setting_array('required_labels'))"),
        policy_mutant("everything", "    )\nTHEN true END) IS NOT NULL", "    )\nTHEN true END) IS NOT NULL OR true", nothing_visible_test, SAME_ROWS),
        Mutant("policy: a missing setting is an empty array", CLEARANCE_SETTINGS_MIGRATION, "THEN firewall_setting(name)::varchar[] END;", "THEN firewall_setting(name)::varchar[] ELSE '{}' END;", (missing,)),
        policy_mutant("totals for who is bound to namespaces", 'row_level_security("memory_total_rollups", writes=WRITES_SOMETHING, namespace=ALL_NAMESPACES)', 'row_level_security("memory_total_rollups", writes=WRITES_SOMETHING, namespace="true")', totals),
        policy_mutant("rollups without namespaces", 'row_level_security("memory_rollups", writes=WRITES_SOMETHING, namespace=NAMESPACE)', 'row_level_security("memory_rollups", writes=WRITES_SOMETHING, namespace="true")', ROW_SECURITY_TEST),
        policy_mutant("days without namespaces", 'row_level_security("memory_day_rollups", writes=WRITES_SOMETHING, namespace=NAMESPACE)', 'row_level_security("memory_day_rollups", writes=WRITES_SOMETHING, namespace="true")', ROW_SECURITY_TEST),
        policy_mutant("every writer sees all", "WRITES = f\"({WRITES_ALL} OR source = ANY", "WRITES = f\"({WRITES_ALL} OR firewall_setting('writer_sources') <> '' OR source = ANY", own_source_test),
        policy_mutant("every reader writes", "FOR INSERT WITH CHECK ({writes})", "FOR INSERT WITH CHECK (true)", other_source_test),
        policy_mutant("every reader closes", "FOR UPDATE USING ({writes}) WITH CHECK ({writes})", "FOR UPDATE USING (true) WITH CHECK (true)", f"{ROW_SECURITY}::test_nobody_closes_what_they_may_only_see"),
        policy_mutant("not enabled", "        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;\n", "", SAME_ROWS),
        policy_mutant("not forced", "        ALTER TABLE {table} FORCE ROW LEVEL SECURITY;\n", "", forced_policy_test),
        Mutant("clock: record time is claimed", SQL_FUNCTIONS_MIGRATION, "IF current_instant = (SELECT instant FROM record_clock) THEN", "IF current_instant IS NOT NULL THEN", (claim,)),
        grant_mutant("memories can be changed", '"UPDATE (superseded_at)"', '"UPDATE"'),
        grant_mutant("memories can be deleted", '("SELECT", "INSERT", "UPDATE (superseded_at)")', '("SELECT", "INSERT", "UPDATE (superseded_at)", "DELETE")'),
        grant_mutant("entries can be changed", '"audit_entries": ("SELECT", "INSERT")', '"audit_entries": ("SELECT", "INSERT", "UPDATE")'),
        grant_mutant("entries can be deleted", '"audit_entries": ("SELECT", "INSERT")', '"audit_entries": ("SELECT", "INSERT", "DELETE")'),
        grant_mutant("the clock can be set", '"record_clock": ("SELECT",)', '"record_clock": ("SELECT", "UPDATE")'),
        grant_mutant("migrations can be forgotten", '"django_migrations": ("SELECT",)', '"django_migrations": ("SELECT", "DELETE")'),
        grant_mutant("what it had before stays", "sql.SQL(\"REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}\").format(schema, role_identifier),", ""),
    ]  # fmt: skip


def _plan_mutants() -> list[Mutant]:
    half = (f"{PLAN_COST_TESTS}::test_a_caller_who_sees_half_of_the_rows_goes_through_no_index_of_all_tiers",)
    indexed_sql = "models.Q(('superseded_at__isnull', True), ('version__gte', 1)), fields=('{0}',{1}"
    unindexed_sql = "models.Q(('superseded_at__isnull', True)), fields=('{0}',{1}"
    return [
        Mutant("plans: through the index of ids", MEMORY_TABLES_MIGRATION, indexed_sql.format("memory_id", ")"), unindexed_sql.format("memory_id", ")"), half),
        Mutant("plans: through the index of identities", MEMORY_TABLES_MIGRATION, indexed_sql.format("source", " "), unindexed_sql.format("source", " "), half),
        Mutant("plans: through the index of versions", MEMORY_TABLES_MIGRATION, "condition=models.Q(('version__gte', 1)), fields=('memory_id', 'version')", "fields=('memory_id', 'version')", half),
    ]  # fmt: skip


def _access_mutants() -> list[Mutant]:
    same_list = f"{CURSORS}::test_that_are_not_of_this_list_are_all_refused_alike"
    lowered_cursor_test = (
        "tests/memories/test_pagination.py::test_a_cursor_ends_with_the_clearance_that_it_was_made_under"
    )
    invalid_key_test = f"{AUTHENTICATION_TESTS}::TestInvalidKeys"
    return [
        Mutant("cursor: anybody's", CURSOR_BINDING, "            principal.name,\n", "", (same_list,)),
        Mutant("cursor: of any tier", CURSOR_BINDING, "            clearance.max_tier,\n", "", (lowered_cursor_test,)),
        Mutant("cursor: of any blocked labels", CURSOR_BINDING, "            sorted(clearance.blocked_labels),\n", "", (lowered_cursor_test,)),
        Mutant("cursor: of any required labels", CURSOR_BINDING, "            sorted(clearance.required_labels),\n", "", (lowered_cursor_test,)),
        Mutant("cursor: of any namespaces", CURSOR_BINDING, "            None if clearance.namespaces is None else sorted(clearance.namespaces),\n", "", (lowered_cursor_test,)),
        Mutant("cursor: of any filters", PAGES, ", sorted(filters.active_filters))", ")", (same_list,)),
        Mutant("cursor: anybody can make one", CURSOR_CODEC, "self._signer.unsign(cursor)", 'cursor.rpartition(".")[0]', (same_list,)),
        Mutant("scopes: every principal has all", PERMISSIONS, "principal.require_scopes(view.scopes[method])", "pass", (AUTHORIZATION_TEST,)),
        Mutant("keys: revoked ones open", AUTHENTICATION, "if key.revoked_at is not None:", "if False:", (invalid_key_test,)),
        Mutant("keys: expired ones open", AUTHENTICATION, "if key.expiry is not None and key.expiry <= timezone.now():", "if False:", (invalid_key_test,)),
        Mutant("keys: of disabled users open", AUTHENTICATION, "super().validate_user(key)", "(key.user, key)", (invalid_key_test,)),
        Mutant("sessions: no CSRF", AUTHENTICATION, '    """DRF\'s own; the challenge of the first class makes a missing sign-in a 401."""\n', "    def enforce_csrf(self, request: Any) -> None: ...\n", (f"{AUTHENTICATION_TESTS}::TestSessions",)),
        Mutant("users: disabled ones see", PRINCIPAL_LOOKUP, "if not user.is_authenticated or not user.is_active:", "if not user.is_authenticated:", ("tests/firewall/test_principals.py",)),
        Mutant("reclassify: every reader", CLASSIFY, "plan.principal.require_scopes(Scope.CURATE)", "pass", (f"{CLASSIFY_TESTS}::TestPermissions",)),
        Mutant("reclassify: without the scope declassify", CLASSIFY, "return \"declassification\" if is_widened and not principal.has_scope(Scope.DECLASSIFY) else \"\"", 'return ""', (f"{CLASSIFY_TESTS}::TestPermissions",)),
        Mutant("reclassify: widened without a reason", CLASSIFY, "if plan.widened_count and not reason.strip():", "if False:", (f"{CLASSIFY_TESTS}::TestPermissions",)),
        Mutant("reclassify: out of one's own sight", CLASSIFY, "if not principal.clearance.permits(after):", "if False:", (f"{CLASSIFY_TESTS}::TestPermissions",)),
        Mutant("reclassify: who may not read asks riddles", CURATION_VIEWS, "get_principal(request).require_scopes(Scope.READ)", "pass", ("tests/api/native/test_classify.py::TestOneMemory", AUTHORIZATION_TEST)),
    ]  # fmt: skip


def _audit_log_mutants() -> list[Mutant]:
    def log_mutant(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"audit log: {name}", AUDIT_LOG, old, new, tests or ("tests/audit/test_log.py",))

    def policy_mutant(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"policy of entries: {name}", AUDIT_RLS_MIGRATION, old, new, (AUDIT_RLS_TESTS,))

    def query_mutant(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"audit queries: {name}", AUDIT_QUERIES, old, new, (AUDIT_QUERY_TESTS,))

    def read_log_mutant(name: str, file: str, old: str, new: str) -> Mutant:
        return Mutant(f"reads: {name}", file, old, new, (READ_LOG_TESTS,))

    append_only_test = "tests/audit/test_log.py::test_nothing_is_changed_or_deleted"
    return [
        log_mutant("chained to nothing", "\"previous_hash\": previous_head.hash.hex(),", "\"previous_hash\": GENESIS_HASH.hex(),"),
        log_mutant("outside of the action's transaction", "if not connection.in_atomic_block:", "if False:"),
        Mutant("audit log: without a lock", AUDIT_LOCK_MIGRATION, "PERFORM pg_advisory_xact_lock(hashtext('audit_chain_head'));", "", ("tests/audit/test_log.py::test_sixteen_writers_make_one_chain",)),
        Mutant("audit log: entries are changed", AUDIT_SCHEMA_MIGRATION, "operation='UPDATE OR DELETE'", "operation='DELETE'", (append_only_test,)),
        Mutant("audit log: entries are deleted", AUDIT_SCHEMA_MIGRATION, "operation='UPDATE OR DELETE'", "operation='UPDATE'", (append_only_test,)),
        Mutant("audit log: entries are emptied", AUDIT_SCHEMA_MIGRATION, "operation='TRUNCATE'", "operation='UPDATE'", (append_only_test,)),
        Mutant("audit log: emptied with its head and whole", "memoryhub/audit/verify.py", "if is_hub_in_use and last_entry.seq == 0:", "if False:", (EMPTIED_LOG_TEST,)),
        Mutant("audit log: emptied though there are memories", "memoryhub/operations/management/commands/audit.py", " or clock.has_records()", "", (EMPTIED_LOG_TEST,)),
        Mutant("audit log: emptied though there are keys", "memoryhub/operations/management/commands/audit.py", " OR EXISTS (SELECT FROM api_keys)", "", (EMPTIED_LOG_TEST,)),
        Mutant("audit log: nothing of the bootstrap", "memoryhub/operations/bootstrap.py", "audit_events.record_audit_event(\n        action,\n        principal=BOOTSTRAP_PRINCIPAL,", "dict(\n        principal=BOOTSTRAP_PRINCIPAL,", ("tests/audit/test_verify.py::test_a_hub_that_was_started_for_the_first_time_is_whole",)),
        policy_mutant("no tiers", "clearance_tiers <@ {TIERS}", "true"),
        policy_mutant("no blocked labels", "AND clearance_blocked_labels @> {BLOCKED}", ""),
        policy_mutant("no required labels", "AND clearance_required_labels @> {REQUIRED}", ""),
        policy_mutant("no namespaces", "AND ((SELECT current_setting('memoryhub.namespaces', true)) = '*' OR clearance_namespaces <@ {NAMESPACES})", ""),
        policy_mutant("every writer sees all", "(SELECT current_setting('memoryhub.writer_sources', true)) = '*'", "(SELECT current_setting('memoryhub.writer_sources', true)) IS NOT NULL"),
        policy_mutant("not forced", "            ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY;\n", ""),
        query_mutant("without snapshot_covered_q", "AuditEntry.objects.filter(snapshot_covered_q(clearance), _visible_without_hidden_q(clearance), condition)", "AuditEntry.objects.filter(_visible_without_hidden_q(clearance), condition)"),
        query_mutant("of what is hidden by now", "AuditEntry.objects.filter(snapshot_covered_q(clearance), _visible_without_hidden_q(clearance), condition)", "AuditEntry.objects.filter(snapshot_covered_q(clearance), condition)"),
        query_mutant("of a hidden memory", "if not _visible_memories(principal.clearance).with_id(memory_id).exists():", "if False:"),
        query_mutant("hidden memories are named", "[memory_id for memory_id in row.memory_ids if memory_id in visible_ids]", "list(row.memory_ids)"),
        query_mutant("reads of hidden memories are listed", "for exposed_id, read_times in read_times_by_memory.items()\n        if exposed_id in visible_ids\n    ]", "for exposed_id, read_times in read_times_by_memory.items()]"),
        read_log_mutant("of the API", API, 'if request.method in ("GET", "HEAD") and response.status_code == 200:', "if False:"),
        read_log_mutant("counted of those who see more", "memoryhub/access_log/read_log.py", "condition |= snapshot_covered_q(principal.clearance)", "condition |= ~Q(principal=\"\")"),
        read_log_mutant("counted together whatever the clearance", "memoryhub/access_log/read_log.py", "hashlib.sha256(snapshot_json).digest()", 'hashlib.sha256(b"").digest()'),
        read_log_mutant("what the API's list showed", API, "self.read_memory_ids = [record[\"memory_id\"] for record in page.records]", "pass"),
        read_log_mutant("which memory the API showed", API, "record = get_memory_or_404(request, memory_id, filters.point_in_time)\n        self.read_memory_ids = [memory_id]", "record = get_memory_or_404(request, memory_id, filters.point_in_time)"),
        read_log_mutant("whose versions the API showed", API, "self.read_memory_ids = [memory_id]\n        return Response(MemoryVersionsResponse", "return Response(MemoryVersionsResponse"),
        read_log_mutant("of the list's page", MEMORY_VIEWS, "read_log.log_request_read(request, principal=request.principal, memory_ids=_list_memory_ids(page.records))", "pass"),
        read_log_mutant("of a memory's page", MEMORY_VIEWS, "read_log.log_request_read(request, principal=request.principal, memory_ids=[memory_id, *_list_memory_ids(related)])", "pass"),
        read_log_mutant("related memories of a page", MEMORY_VIEWS, "memory_ids=[memory_id, *_list_memory_ids(related)]", "memory_ids=[memory_id]"),
        Mutant("unmask: without an entry", MEMORY_VIEWS, "    audit_request(request, AuditAction.MEMORY_UNMASK, principal=request.principal, memory_ids=[memory_id])\n", "", ("tests/inspector/test_hostile_content.py", "tests/test_authorization.py::test_every_action_is_one_entry_in_the_audit_log_and_a_refused_action_is_none")),
        Mutant("write: without an entry", MEMORY_WRITE, "audit_events.record_audit_event(\n            AuditAction.MEMORY_WRITE,", "dict(\n            action=AuditAction.MEMORY_WRITE,", ("tests/test_authorization.py::test_every_action_is_one_entry_in_the_audit_log_and_a_refused_action_is_none",)),
        Mutant("reclassify: without an entry", CLASSIFY, "        _record_audit_event(plan, reason=reason, route=route, request_id=request_id)\n", "", (f"{CLASSIFY_TESTS}::TestMany",)),
    ]  # fmt: skip


def _time_travel_mutants() -> list[Mutant]:
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


def _conflict_mutants() -> list[Mutant]:
    def decision_queryset_mutant(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"decisions: {name}", DECISIONS, old, new, (DEFENCE_TESTS,))

    def policy_mutant(name: str, old: str, new: str = "") -> Mutant:
        return Mutant(f"policy of decisions: {name}", DECISION_POLICIES, old, new, (DEFENCE_TESTS,))

    def plan_mutant(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"decide: {name}", RESOLUTION_PLAN, old, new, tests or (f"{RESOLVE_TESTS}::TestTheFirewall",))

    def resolve_mutant(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"decide: {name}", RESOLVE, old, new, tests)

    def rejection_mutant(name: str, old: str, new: str, *tests: str) -> Mutant:
        tests = tests or (f"{RESOLVE_TESTS}::TestArrivingAgain",)
        return Mutant(f"arriving again: {name}", REJECTED_VALUES, old, new, tests)

    def claim_mutant(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"claim: {name}", CLAIMS, old, new, ("tests/conflicts/decisions/test_claims.py",))

    def status_mutant(name: str, file: str, old: str, new: str) -> Mutant:
        return Mutant(f"status: {name}", file, old, new, (DEFENCE_TESTS, OPEN_GROUP_TESTS))

    def decision_query_mutant(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"decision queries: {name}", DECISION_QUERIES, old, new, (DEFENCE_TESTS,))

    def policies_mutant(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"policies: {name}", file, old, new, tests or ("tests/conflicts/policies/test_runs.py",))

    refusal_tests, undo_tests = f"{RESOLVE_TESTS}::TestRefusals", f"{RESOLVE_TESTS}::TestUndo"
    undo_once_test = f"{DEFENCE_TESTS}::test_a_decision_is_undone_once_though_two_find_it_in_force"
    return [
        decision_queryset_mutant("no tiers", "condition = Q(tiers__contained_by=stored_tier_values(clearance))", "condition = Q()"),
        decision_queryset_mutant("one open tier is enough", "tiers__contained_by=", "tiers__overlap="),
        decision_queryset_mutant("no blocked labels", "condition &= ~Q(any_labels__overlap=sorted(normalize_labels(clearance.blocked_labels)))", "pass"),
        decision_queryset_mutant("blocked labels that all have", "~Q(any_labels__overlap=", "~Q(common_labels__overlap="),
        decision_queryset_mutant("no required labels", "condition &= Q(common_labels__contains=sorted(normalize_labels(clearance.required_labels)))", "pass"),
        decision_queryset_mutant("a required label that one has", "Q(common_labels__contains=", "Q(any_labels__contains="),
        decision_queryset_mutant("no namespaces", "condition &= Q(namespaces__contained_by=sorted(clearance.namespaces))", "pass"),
        decision_queryset_mutant("one namespace is enough", "namespaces__contained_by=", "namespaces__overlap="),
        decision_queryset_mutant("what is hidden since", "return self.filter(condition, memory_ids__len=Subquery(visible_members.values(\"row_count\")))", "return self.filter(condition)"),
        decision_queryset_mutant("one that is not hidden since is enough", "memory_ids__len=Subquery", "memory_ids__len__gte=Subquery"),
        decision_queryset_mutant("what everybody may see by now", "Memory.objects.visible_to(clearance).filter(superseded_at", "Memory.objects.filter(superseded_at"),
        Mutant("decisions: in force though undone", DECISIONS, "self.filter(is_recorded, is_unexpired, ~Exists(undo_decisions)).exclude", "self.filter(is_recorded, is_unexpired).exclude", (DEFENCE_TESTS,)),
        Mutant("decisions: in force though put off until today", DECISIONS, "self.filter(is_recorded, is_unexpired, ~Exists", "self.filter(is_recorded, ~Exists", (DEFENCE_TESTS,)),
        policy_mutant("no tiers", "tiers <@ (SELECT firewall_setting_array('tiers'))", "true"),
        policy_mutant("no blocked labels", "AND NOT any_labels && (SELECT firewall_setting_array('blocked_labels'))"),
        policy_mutant("no required labels", "AND common_labels @> (SELECT firewall_setting_array('required_labels'))"),
        policy_mutant("no namespaces", "AND (\n            (SELECT firewall_setting('namespaces')) = '*'\n            OR namespaces <@ (SELECT firewall_setting_array('namespaces'))\n        )"),
        policy_mutant("every writer sees all", "(SELECT firewall_setting('writer_sources')) = '*'", "(SELECT firewall_setting('writer_sources')) IS NOT NULL"),
        policy_mutant("every reader adds", "(SELECT firewall_setting('writer_sources')) <> ''", "true"),
        policy_mutant("not forced", "            ALTER TABLE decisions FORCE ROW LEVEL SECURITY;\n"),
        plan_mutant("what low readers would miss is retired", "still_active_ids = {\n        rejected_member.memory_id\n        for rejected_member in rejected_members\n        if any(widens(classification, rejected_member) for classification in classifications)\n    }", "still_active_ids: set[UUID] = set()"),
        plan_mutant("a loser is asked of the values kept alone", "classifications = {_current_classification(member) for member in members}", "classifications = {_current_classification(member) for member in kept_members}"),
        plan_mutant("a merged value widens visibility", "if merged_draft and any(widens(member, merged_draft) for member in members):", "if False:"),
        plan_mutant("widening is asked of nobody", "widens_visibility(_Classification(*before), _Classification(*after), clearances)", "widens_visibility(_Classification(*before), _Classification(*after))"),
        plan_mutant("a merged value as open as the first", "max((member.classification_tier", "min((member.classification_tier", DEFENCE_TESTS),
        plan_mutant("on whatever there is by now", "if resolution_request.evidence != compute_evidence((member.memory_id, member.version) for member in members):", "if False:", DEFENCE_TESTS, refusal_tests),
        plan_mutant("twice on the same", "if (resolution_request.key, resolution_request.evidence) in resolved_evidence:", "if False:", refusal_tests),
        plan_mutant("while somebody else does", "if resolution_request.key in claimed_keys:", "if False:", DEFENCE_TESTS),
        plan_mutant("on all rows", "Memory.objects.visible_to(principal.clearance).current()", "Memory.objects.filter(superseded_at=None)", DEFENCE_TESTS),
        resolve_mutant("every reader", "principal.require_scopes(Scope.CURATE, Scope.READ)", "principal.require_scopes(Scope.READ)", refusal_tests),
        resolve_mutant("a curator without read", "principal.require_scopes(Scope.CURATE, Scope.READ)", "principal.require_scopes(Scope.CURATE)", refusal_tests),
        resolve_mutant("an undo of what is hidden", "Decision.objects.visible_to(principal.clearance).filter(decision_id__in=decision_ids).with_undo()", "Decision.objects.filter(decision_id__in=decision_ids).with_undo()", DEFENCE_TESTS),
        resolve_mutant("an undo of an undo", 'if decision.outcome == "undo":', "if False:", undo_tests),
        resolve_mutant("an undo twice", 'return "already_undone" if getattr(decision, "undone_by_id", None) else ""', 'return ""', undo_tests),
        Mutant("decide: an undo twice in the table", "memoryhub/conflicts/migrations/0001_tables.py", "null=True, unique=True)", "null=True)", (undo_once_test,)),
        resolve_mutant("without an entry", "audit_events.record_audit_event(\n                AuditAction.CONFLICT_RESOLVE,", "dict(\n                action=AuditAction.CONFLICT_RESOLVE,", f"{RESOLVE_TESTS}::test_of_two_stewards_who_decide_at_once_one_does"),
        resolve_mutant("an undo without an entry", "audit_events.record_audit_event(\n                AuditAction.CONFLICT_UNDO,", "dict(\n                action=AuditAction.CONFLICT_UNDO,", DEFENCE_TESTS),
        rejection_mutant("a rejection that is hidden from readers", "not widens_visibility(row, draft, clearances)", "True"),
        rejection_mutant("a rejection hidden from some readers", "widens_visibility(row, draft, clearances)", "widens_visibility(row, draft)"),
        rejection_mutant("in another namespace", "row.namespace == draft.namespace and ", ""),
        rejection_mutant("any actor", "if not comparable_rows or ACTOR_TRUST_RANK[draft.actor_type] > max(row.trust for row in comparable_rows):", "if not comparable_rows:"),
        rejection_mutant("all of them", "visible_memories = Memory.objects.visible_to(clearance)", "visible_memories = Memory.objects.all()", DEFENCE_TESTS),
        decision_query_mutant("one", "decisions = Decision.objects.visible_to(principal.clearance).filter(decision_id=decision_id)", "decisions = Decision.objects.filter(decision_id=decision_id)"),
        decision_query_mutant("about a key", "            Decision.objects.visible_to(clearance).filter(condition)", "            Decision.objects.filter(condition)"),
        decision_query_mutant("in a list", "decisions: DecisionQuerySet = Decision.objects.visible_to(clearance).filter(condition)", "decisions: DecisionQuerySet = Decision.objects.filter(condition)"),
        decision_query_mutant("a merged memory that is hidden", "row.merged_id if row.merged_id in visible_merged_ids else None", "row.merged_id"),
        Mutant("decision queries: in the life of a subject", SUBJECT_DECISIONS, "decision_queries.list_for_keys(\n            sorted(set(_iter_group_keys(history))), clearance=clearance\n        )", f"decision_queries.list_for_keys(sorted(set(_iter_group_keys(history))), clearance={UNRESTRICTED_CLEARANCE})", (SUBJECT_DECISION_TESTS,)),
        Mutant("decision queries: that were made later", SUBJECT_DECISIONS, "if known_at is None or decision.recorded_at <= known_at", "", (SUBJECT_DECISION_TESTS,)),
        status_mutant("chips of what is hidden", OPEN_GROUPS, "point_in_time.active_versions(Memory.objects.visible_to(clearance))", "point_in_time.current_versions(Memory.objects.all())"),
        status_mutant("chips by hidden decisions", OPEN_GROUPS, "Decision.objects.visible_to(clearance).in_force", "Decision.objects.in_force"),
        status_mutant("chips by decisions of another time", OPEN_GROUPS, ".in_force(point_in_time.known_at)", ".in_force()"),
        status_mutant("open though decided", OPEN_GROUPS, "({accepting_decision}) IS NULL", "(({accepting_decision}) IS NULL OR true)"),
        status_mutant("accepted without what nobody had seen", OPEN_GROUPS, "key_decisions.filter(~Exists(unaccepted_members)).values", "key_decisions.values"),
        status_mutant("accepted by one value of several", OPEN_GROUPS, "unaccepted_members = members.exclude(", "unaccepted_members = members.filter("),
        status_mutant("accepted by another key", OPEN_GROUPS, "filter_by_key_columns(decisions, key_columns).filter(**match_columns(\"keys\", key_columns))", "filter_by_key_columns(decisions, key_columns)"),
        status_mutant("accepted for another scope", OPEN_GROUPS, "return decisions.filter(namespace__isnull=\"namespace\" not in key_columns)", "return decisions"),
        status_mutant("open with one content", OPEN_GROUPS, "WHERE ({greater_member}) IS NOT NULL OR ({smaller_member}) IS NOT NULL)", "WHERE true OR ({greater_member}) IS NOT NULL OR ({smaller_member}) IS NOT NULL)"),
        Mutant("status: dry runs of what is decided", POLICY_EVALUATION, "_load_groups(find_open_keys(keys, clearance=principal.clearance), principal.clearance)", "_load_groups(keys, principal.clearance)", (OPEN_GROUP_ORACLE_TEST,)),
        status_mutant("decided by hidden decisions", GROUPS, "Decision.objects.visible_to(self.clearance)", "Decision.objects.all()"),
        status_mutant("decided though undone", GROUPS, "return decisions.in_force(self.point_in_time.known_at)", "return decisions"),
        status_mutant("listed as open though decided", GROUP_KEY_QUERIES, "(SELECT {is_open} AS is_open OFFSET 0)", "(SELECT ({is_open}) IS NOT NULL AS is_open OFFSET 0)"),
        status_mutant("listed as decided though open", GROUP_KEY_QUERIES, "AND NOT ({is_open})", "AND ({is_open}) IS NOT NULL"),
        policies_mutant("every curator writes them", CONFLICT_POLICIES, "principal.require_scopes(Scope.ADMIN)", "pass", "tests/conflicts/policies/test_policies.py"),
        policies_mutant("of namespaces that are hidden", CONFLICT_POLICIES, "if (\n        new_version.namespace is not None\n        and visible_namespaces is not None\n        and new_version.namespace not in visible_namespaces\n    ):", "if False:", "tests/conflicts/policies/test_policies.py"),
        policies_mutant("of those who see more", CONFLICT_POLICIES, "condition = snapshot_covered_q(clearance)", "condition = Q()", "tests/conflicts/policies/test_policies.py"),
        policies_mutant("with the clearance of who changed them", CONFLICT_POLICIES, "(previous.clearance_snapshot if previous else snapshot).to_columns()", "snapshot.to_columns()", "tests/conflicts/policies/test_policies.py"),
        policies_mutant("written into by who sees more", CONFLICT_POLICIES, "raise OperationRejectedError({\"\": [CLEARANCE_DIFFERS_MESSAGE]}, \"clearance_differs\")", "pass", "tests/conflicts/policies/test_policies.py"),
        policies_mutant("named by a decision to everybody", DECISION_QUERIES, "if row.policy_id in {None, *visible_policy_ids}\n                else _HIDDEN_POLICY", "", "tests/conflicts/policies/test_policies.py"),
        policies_mutant("decisions found by their hidden policy", DECISION_QUERIES, "condition &= policy_is_visible\n", "pass\n", "tests/conflicts/policies/test_policies.py"),
        policies_mutant("decisions found by the name of their hidden policy", DECISION_QUERIES, "(policy_is_visible & Q(reason__icontains", "(Q(reason__icontains", "tests/conflicts/policies/test_policies.py"),
        policies_mutant("every curator runs them", RUNS, "principal.require_scopes(Scope.ADMIN)\n    policy =", "policy ="),
        policies_mutant("every curator advances runs", RUNS, "principal.require_scopes(Scope.ADMIN)\n    with", "with"),
        policies_mutant("every curator undoes runs", RUNS, "principal.require_scopes(Scope.ADMIN)\n    if not reason", "if not reason"),
        policies_mutant("runs of those who see more", RUNS, "PolicyRun.objects.filter(\n        snapshot_covered_q(principal.clearance), ", "PolicyRun.objects.filter("),
        policies_mutant("runs go on with another clearance", RUNS, 'return "clearance_differs"', 'return ""'),
        policies_mutant("runs go on with rules of before", RUNS, 'return "policy_changed"', 'return ""'),
        claim_mutant("shown to everybody", "row.principal in clearances and principal.clearance.is_superset_of(clearances[row.principal])", "row.principal in clearances"),
        claim_mutant("of everybody else is taken away", "_filter_by_key(key).filter(Q(principal=principal.name) | Q(expires_at__lte=now)).delete()", "_filter_by_key(key).delete()"),
        claim_mutant("without waiting for one another", "        _lock_key(key)\n", ""),
        claim_mutant("one's own hides that of another", "ordered_claims = sorted(rows, key=lambda row: (row.principal != principal.name,", "ordered_claims = sorted(rows, key=lambda row: (row.principal == principal.name,"),
        claim_mutant("every reader", "principal.require_scopes(Scope.CURATE)\n    now =", "now ="),
        claim_mutant("released by every reader", "principal.require_scopes(Scope.CURATE)\n    for", "for"),
    ]  # fmt: skip


MUTANTS = [
    *_clearance_rule_mutants(), *label_mutants(), *_query_filter_mutants(), *_row_security_mutants(), *_plan_mutants(), *_access_mutants(), *_audit_log_mutants(),
    *_time_travel_mutants(), *_conflict_mutants(), *write_mutants(), *secret_mutants(), *canonical_values.MUTANTS, *transfer.MUTANTS, *filters_and_history.MUTANTS,
    *availability.MUTANTS, *operations.MUTANTS, *input_limits.MUTANTS,
]  # fmt: skip
