"""Each place that applies the rule, broken: what is put in place of what, and the tests that must notice."""

from tests.mutation import availability, canonical_values, filters_and_history, input_limits, operations, transfer
from tests.mutation.conflicts import conflict_mutants
from tests.mutation.labels import label_mutants
from tests.mutation.mutant import Mutant
from tests.mutation.secrets import secret_mutants
from tests.mutation.shared_constants import (
    MAY_NOT,
    NONINTERFERENCE_TESTS,
    POINT_IN_TIME,
    QUERY_FILTER_TEST,
    ROLES,
    ROW_SECURITY,
    SQL_FUNCTIONS_MIGRATION,
    STORY_TEST,
    UNRESTRICTED_CLEARANCE,
)
from tests.mutation.time_travel import time_travel_mutants
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
FILTERS = "memoryhub/memories/filters.py"
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
AUTHENTICATION = "memoryhub/api/authentication.py"
PERMISSIONS = "memoryhub/api/permissions.py"
PRINCIPAL_LOOKUP = "memoryhub/firewall/principal_lookup.py"
INSPECTOR_AUTH = "inspector/auth.py"
MEMORY_VIEWS = "inspector/views/memories.py"

PARITY_TESTS = "tests/firewall/test_rule_parity.py"
RULE_EDGE_TEST = f"{PARITY_TESTS}::test_a_rule_at_its_edge"
AUDIT_RLS_TESTS = "tests/audit/test_row_security.py"
ROW_SECURITY_TEST = f"{STORY_TEST}[row security alone]"
EXPORT = f"{NONINTERFERENCE_TESTS}::test_an_export_holds_what_its_reader_may_see_and_nothing_else"
SAME_ROWS = f"{ROW_SECURITY}::test_query_filter_and_row_security_show_the_same_rows"
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
CLASSIFICATION_PERMISSION_TESTS = "tests/memories/test_classification_permissions.py::TestPermissions"


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
        python_mutant("widens: a lower tier does not", "is_lower_tier(after.classification_tier, before.classification_tier)", "False", CLASSIFICATION_PERMISSION_TESTS),
        python_mutant("widens: a label less does not", "not normalize_labels(before.sensitivity_labels) <= normalize_labels(after.sensitivity_labels)", "False", CLASSIFICATION_PERMISSION_TESTS),
        python_mutant("widens: a required label does not", "any(clearance.permits(after) and not clearance.permits(before) for clearance in clearances)", "False", CLASSIFICATION_PERMISSION_TESTS),
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
        leak_mutant("reclassify: one memory", CLASSIFY, "rows = _fetch_rows(memories.visible_to(principal.clearance))", "rows = _fetch_rows(memories)", CLASSIFICATION_PERMISSION_TESTS),
        leak_mutant("reclassify: the row that is locked", CLASSIFY, "visible_rows = Memory.objects.visible_to(principal.clearance).current().filter(id__in=row_ids)", "visible_rows = Memory.objects.filter(id__in=row_ids)", f"{CLASSIFY_TESTS}::TestMany", f"{CLASSIFY_TESTS}::test_of_two_stewards_at_once_one_wins"),
        leak_mutant("reclassify: undo", CLASSIFY, "visible_memories = Memory.objects.visible_to(principal.clearance)\n        rows", "visible_memories = Memory.objects.all()\n        rows", "tests/memories/test_undo_classification.py::TestUndo"),
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
        rls_mutant("what held before holds no more", "if previous_settings is not None:", "if False:", f"{ROW_SECURITY}::test_after_a_block_within_another_the_outer_clearance_holds_again"),
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
        Mutant("reclassify: every reader", CLASSIFY, "plan.principal.require_scopes(Scope.CURATE)", "pass", (CLASSIFICATION_PERMISSION_TESTS,)),
        Mutant("reclassify: without the scope declassify", CLASSIFY, "return \"declassification\" if is_widened and not principal.has_scope(Scope.DECLASSIFY) else \"\"", 'return ""', (CLASSIFICATION_PERMISSION_TESTS,)),
        Mutant("reclassify: widened without a reason", CLASSIFY, "if plan.widened_count and not reason.strip():", "if False:", (CLASSIFICATION_PERMISSION_TESTS,)),
        Mutant("reclassify: out of one's own sight", CLASSIFY, "if not principal.clearance.permits(after):", "if False:", (CLASSIFICATION_PERMISSION_TESTS,)),
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


MUTANTS = [
    *_clearance_rule_mutants(), *label_mutants(), *_query_filter_mutants(), *_row_security_mutants(), *_plan_mutants(), *_access_mutants(), *_audit_log_mutants(),
    *time_travel_mutants(), *conflict_mutants(), *write_mutants(), *secret_mutants(), *canonical_values.MUTANTS, *transfer.MUTANTS, *filters_and_history.MUTANTS,
    *availability.MUTANTS, *operations.MUTANTS, *input_limits.MUTANTS,
]  # fmt: skip
