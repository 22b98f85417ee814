"""Mutants of what keeps answers right: expired memories, empty values, folded texts, the status of values."""

from tests.mutation.mutant import Mutant

MEMORY_QUERYSETS = "memoryhub/memories/querysets.py"
TIERS = "memoryhub/memories/sql/tiers.py"
FILTERS = "memoryhub/memories/filters.py"
FIELDS = "memoryhub/memories/filter_fields.py"
FACETS = "memoryhub/memories/facets.py"
GROUPS = "memoryhub/conflicts/groups/groups.py"
SUBJECTS = "inspector/views/subjects.py"
EXPIRY_TESTS = "tests/api/native/test_expiry.py"
FILTER_TESTS = "tests/api/native/test_reads.py::TestFilters"
EMPTY_FILTER_TEST = f"{FILTER_TESTS}::test_that_are_empty_ask_for_what_is_empty"
FILTER_TABLE_TEST = f"{FILTER_TESTS}::test_find_the_same_on_the_list_the_facets_and_the_histogram"
FIELD_TESTS = "tests/memories/test_filter_fields.py"
BRUTE_FORCE_TEST = "tests/noninterference/test_secret_recovery.py::test_a_brute_force_of_every_next_letter_learns_none"
INVALID_FILTERS = f"{FILTER_TESTS}::test_that_cannot_be_answered_are_named"
GROUP_TESTS = "tests/conflicts/groups/test_groups.py"
BULK_CLASSIFY_TESTS = "tests/api/native/test_classify.py::TestManyMemories"
FOLD_TESTS = "tests/memories/test_fold_text.py"
SUBJECT_TESTS = "tests/inspector/test_subject_history.py"
SEARCH_TESTS = "tests/inspector/presenters/test_memory_search.py"
SQL_FUNCTIONS_MIGRATION = "memoryhub/memories/migrations/0001_sql_functions.py"


def _expiry_mutants() -> list[Mutant]:
    def expired_mutant(name: str, file: str, old: str, new: str) -> Mutant:
        return Mutant(f"expired: {name}", file, old, new, (EXPIRY_TESTS,))

    return [
        expired_mutant("hidden from everybody", MEMORY_QUERYSETS, "return self.filter(superseded_at__isnull=True)", "return self.unexpired().filter(superseded_at__isnull=True)"),
        expired_mutant("of any status", MEMORY_QUERYSETS, "Q(status=ACTIVE, expires_at__lte=self._expiry_instant)", "Q(expires_at__lte=self._expiry_instant)"),
        expired_mutant("active as well", MEMORY_QUERYSETS, "self.unexpired().filter(status=ACTIVE)", "self.filter(status=ACTIVE)"),
        expired_mutant("judged now, whatever the event time", "memoryhub/memories/point_in_time.py", "return self.as_of or self.known_at", "return self.known_at"),
        expired_mutant("not counted beside a tally", TIERS, 'bound="> statement_timestamp()" if is_active else "IS NOT NULL"', 'bound="> statement_timestamp()"'),
        expired_mutant("shown as active", "memoryhub/memories/records.py", 'if name == "status" and row.get("is_expired"):', "if False:"),
        expired_mutant("on arrival, without a word", "memoryhub/memories/writes/write.py", "is_expired=expires_at is not None and expires_at <= datetime.now(UTC)", "is_expired=False"),
        expired_mutant("a diff with a status that time changes", "memoryhub/timetravel/diff.py", "for end in fetch_stored_records(\n                self", "for end in __import__(\"memoryhub.memories.records\").memories.records.fetch_records(\n                self"),
        expired_mutant("a diff without what is in quarantine", MEMORY_QUERYSETS, "return self.exclude(self._expired_q)", "return self.unexpired()"),
        expired_mutant("exported with a status that no import knows", "memoryhub/memories/records.py", "for row in _stored_record_values(queryset, names).iterator(chunk_size):", "for row in record_values(queryset, names).iterator(chunk_size):"),
    ]  # fmt: skip


def _empty_value_mutants() -> list[Mutant]:
    return [
        Mutant("empty: filters nothing", FIELDS, "if values else None", "if any(values) else None", (EMPTY_FILTER_TEST,)),
        Mutant("empty: counted as if nothing were asked", FILTERS, '(value != "" or not self.base_filters[name].method)', 'value != ""', (f"{GROUP_TESTS}::TestKeys",)),
        Mutant("empty: a label that filters nothing", FILTERS, 'condition = Q(normalized_labels=[]) if "" in labels.included else Q()', "condition = Q()", (EMPTY_FILTER_TEST,)),
        Mutant("empty: a label that is not counted", FACETS, "rows = rows.filter(label_condition(filters.labels))", "rows = rows", (EMPTY_FILTER_TEST,)),
        Mutant("empty: a choice that filters nothing", FIELDS, 'and not (text == "" and self.empty_is_a_choice)', 'and text != ""', (INVALID_FILTERS,)),
        Mutant("empty: an instant that filters nothing", FIELDS, "        if value is None:\n            return None\n        try:\n            # Python also", "        if not value:\n            return None\n        try:\n            # Python also", (INVALID_FILTERS,)),
        Mutant("values: excluded ones are found", FIELDS, "return condition & ~_any_of(column, self.excluded) if self.excluded else condition", "return condition", (FILTER_TABLE_TEST,)),
        Mutant("values: the last one alone", FIELDS, '{f"{column}__in": exact_values} if exact_values[1:] else {column: exact_values[0]}', "{column: exact_values[-1]}", (FILTER_TABLE_TEST,)),
        Mutant("values: a beginning spells a secret out", FIELDS, " & ~Q(HoldsSecret(F(column)))", "", (BRUTE_FORCE_TEST,)),
        Mutant("values: an asterisk is a wildcard always", FIELDS, "return value.endswith(WILDCARD) and not value.endswith(ESCAPED_WILDCARD)", "return value.endswith(WILDCARD)", (FILTER_TABLE_TEST, FIELD_TESTS)),
        Mutant("values: excluded labels are found", FILTERS, "condition &= ~Q(normalized_labels__overlap=sorted(excluded_labels))", "pass", (FILTER_TABLE_TEST,)),
        Mutant("values: excluded labels are compared as written", FILTERS, "[normalize_label(label) for label in labels.excluded if label]", "[label for label in labels.excluded if label]", (FILTER_TABLE_TEST,)),
        Mutant("values: an excluded status is found", "memoryhub/memories/querysets.py", "return queryset.exclude(self._any_status_q(excluded, active_may_be_expired)) if excluded else queryset", "return queryset", (FILTER_TABLE_TEST,)),
        Mutant("values: a cursor for other excluded values", FILTERS, "for param in (name, name + EXCLUDING_SUFFIX)", "for param in (name,)", (FIELD_TESTS,)),
        Mutant("empty: a list of a body that filters nothing", "memoryhub/api/native/classify.py", '(value or [""]) if isinstance', "value if isinstance", (BULK_CLASSIFY_TESTS,)),
        Mutant("empty: dropped from a question that is replayed", "memoryhub/timetravel/replay.py", "[name for name in params if name in _DISPLAY_PARAMS]", "[name for name in params if name in _DISPLAY_PARAMS or not params[name]]", ("tests/inspector/test_replay.py::test_an_empty_value_of_a_question_asks_for_empty",)),
        Mutant("empty: dropped from an address", "inspector/presenters/memory_search.py", "(name in PARAMS_DROPPED_IF_EMPTY and not any(values))", "not any(values)", (SEARCH_TESTS,)),
        Mutant("empty: inputs that a form left empty", FIELDS, "    if FORM_PARAM not in data:\n        return data.copy()", "    if True:\n        return data.copy()", (SEARCH_TESTS,)),
        Mutant("empty: invisible text in everything", "memoryhub/core/storable_text.py", "return None if fold_text(text) else", "return None if text else", (INVALID_FILTERS, "tests/memories/test_secret_search.py")),
        Mutant("empty: groups without a collection", "memoryhub/conflicts/groups/group_keys.py", "REQUIRED_KEY_COLUMNS = KEY_COLUMNS[:2]", "REQUIRED_KEY_COLUMNS = KEY_COLUMNS[:1]", (f"{GROUP_TESTS}::TestKeys",)),
        Mutant("empty: no groups for who asks for them", GROUPS, 'Q() if name in self.values else ~Q(**{name: ""})', '~Q(**{name: ""})', (f"{GROUP_TESTS}::TestKeys",)),
        Mutant("empty: decided by a policy about any collection", "memoryhub/conflicts/policies/policy_evaluation.py", "rows.exclude(**collection_filter) if policy.collection is None else rows.filter(**collection_filter)", "rows if policy.collection is None else rows.filter(**collection_filter)", ("tests/conflicts/policies/test_runs.py::test_a_policy_is_about_the_groups_that_are_listed",)),
    ]  # fmt: skip


def _subject_mutants() -> list[Mutant]:
    empty_page = f"{SUBJECT_TESTS}::test_before_anything_was_known_a_subject_has_an_empty_page"
    badge = f"{SUBJECT_TESTS}::test_only_the_value_of_a_key_wears_the_badge_of_what_is_believed"
    expired_later = f"{SUBJECT_TESTS}::test_a_value_is_believed_again_when_a_later_one_has_expired"
    return [
        Mutant("subject: an empty page for an absent subject", "memoryhub/timetravel/subject_history.py", "bool(newest_records(NOW.visible_known_versions(subject_rows), 1, (\"memory_id\",)))", "True", (empty_page,)),
        Mutant("subject: no empty page", "memoryhub/timetravel/subject_history.py", "bool(newest_records(NOW.visible_known_versions(subject_rows), 1, (\"memory_id\",)))", "False", (empty_page,)),
        Mutant("subject: every value current", SUBJECTS, "if period.kind == \"current\" and period.version_key not in current_keys:", "if False:", (badge,)),
        Mutant("subject: the last value believed at every instant", "memoryhub/timetravel/subject_history.py", "(as_of is None or period.start <= as_of)", "True", (badge,)),
        Mutant("subject: ended by what has expired", "memoryhub/timetravel/subject_history.py", "        if later_record[\"expires_at\"] is None:\n", "        if True:\n", (expired_later,)),
        Mutant("versions: in force in quarantine", "inspector/presenters/memory_fields.py", 'status=memory["status"] if', 'status="active" if', ("tests/inspector/test_classify.py::test_a_version_in_quarantine_is_not_said_to_be_in_force",)),
        Mutant("groups: cut without a word", GROUPS, "return self.value_count > len(self.values)", "return False", ("tests/api/native/test_conflicts.py::test_a_group_says_that_it_has_more_values_than_it_lists",)),
        Mutant("travel: no state of now", "memoryhub/timetravel/point_queries.py", 'if view == "list" and not any(', 'if view != "history" and not any(', ("tests/memories/test_point_in_time.py::TestInstants",)),
        Mutant("fold: letters that share a capital", "memoryhub/core/storable_text.py", "    **dict(zip(map(ord, VARIANT_LETTERS), map(ord, PLAIN_LETTERS), strict=True)),\n", "", (FOLD_TESTS,)),
        Mutant("fold: in SQL alone", SQL_FUNCTIONS_MIGRATION, "THEN translate({VISIBLE}, '{VARIANT_LETTERS}', '{PLAIN_LETTERS}') ELSE", "THEN {VISIBLE} ELSE", (FOLD_TESTS,)),
    ]  # fmt: skip


MUTANTS = [*_expiry_mutants(), *_empty_value_mutants(), *_subject_mutants()]
