"""Mutants of what keeps answers right: expired memories, empty values, folded texts, the standing of values."""

from tests.mutants.mutant import Mutant

ROWS = "memoryhub/memories/querysets.py"
FILTERS = "memoryhub/memories/filters.py"
FACETS = "memoryhub/memories/facets.py"
GROUPS = "memoryhub/conflicts/groups.py"
SUBJECTS = "inspector/views/subjects.py"
EXPIRY = "tests/api/test_expiry.py"
FILTERING = "tests/api/test_reading.py::TestFilters"
EMPTY = f"{FILTERING}::test_that_are_empty_ask_for_what_is_empty"
REFUSED = f"{FILTERING}::test_that_cannot_be_answered_are_named"
GROUPING = "tests/conflicts/test_groups.py"
MANY = "tests/api/test_relabel.py::TestMany"
FOLDING = "tests/memories/test_text.py"
LIFE = "tests/inspector/test_subjects.py"
SEARCH = "tests/inspector/test_search.py"
MIGRATION = "memoryhub/memories/migrations/0016_expiring_and_final_sigma.py"
MIGRATING = "tests/memories/test_migrations.py"


def _expiry() -> list[Mutant]:
    def expired(name: str, file: str, old: str, new: str) -> Mutant:
        return Mutant(f"expired: {name}", file, old, new, (EXPIRY,))

    return [
        expired("hidden from everybody", ROWS, "return self.filter(superseded_at__isnull=True)", "return self.unexpired().filter(superseded_at__isnull=True)"),
        expired("of any status", ROWS, "Q(status=ACTIVE, expires_at__lte=self._judged_at)", "Q(expires_at__lte=self._judged_at)"),
        expired("active as well", ROWS, "self.unexpired().filter(status=ACTIVE)", "self.filter(status=ACTIVE)"),
        expired("judged now, whatever the event time", "memoryhub/memories/moment.py", "return self.as_of or self.known_at", "return self.known_at"),
        expired("not counted beside a tally", ROWS, 'bound="> statement_timestamp()" if is_active else "IS NOT NULL"', 'bound="> statement_timestamp()"'),
        expired("told as active", "memoryhub/memories/records.py", 'if name == "status" and row.get("is_expired"):', "if False:"),
        expired("on arrival, without a word", "memoryhub/memories/ingest.py", "is_expired=ends is not None and ends <= datetime.now(UTC)", "is_expired=False"),
        expired("a diff told with a status that time changes", "memoryhub/timetravel/diff.py", 'for end in stored(self', 'for end in __import__("memoryhub.memories.records").memories.records.records(self'),
        expired("a diff without what is in quarantine", ROWS, "return self.exclude(self._has_expired)", "return self.unexpired()"),
        expired("exported with a status that no import knows", "memoryhub/memories/records.py", "for row in _stored_values(queryset, names).iterator(chunk_size):", "for row in values(queryset, names).iterator(chunk_size):"),
    ]  # fmt: skip


def _empty_values() -> list[Mutant]:
    return [
        Mutant("empty: filters nothing", FILTERS, "return queryset if value is None else", "return queryset if not value else", (EMPTY,)),
        Mutant("empty: counted as if nothing were asked", FILTERS, '(value != "" or not self.base_filters[name].method)', 'value != ""', (EMPTY,)),
        Mutant("empty: a label that filters nothing", FILTERS, 'queryset.filter(label_keys=[]) if "" in labels else queryset', "queryset", (EMPTY,)),
        Mutant("empty: a label that is not counted", FACETS, 'rows.filter(label_keys=[]) if "" in labels else rows', "rows", (EMPTY,)),
        Mutant("empty: a choice that filters nothing", FILTERS, 'if value == "" and not self.empty_is_a_choice:', "if False:", (REFUSED,)),
        Mutant("empty: an instant that filters nothing", FILTERS, "        if value is None:\n            return None\n        try:\n            # Python also", "        if not value:\n            return None\n        try:\n            # Python also", (REFUSED,)),
        Mutant("empty: a list of a body that filters nothing", "memoryhub/api/labels.py", '(value or [""]) if isinstance', "value if isinstance", (MANY,)),
        Mutant("empty: dropped from a question that is replayed", "memoryhub/timetravel/replay.py", "[name for name in asked if name in _MANNERS]", "[name for name in asked if name in _MANNERS or not asked[name]]", ("tests/inspector/test_replay.py::test_an_empty_value_of_a_question_asks_for_empty",)),
        Mutant("empty: dropped from an address", "inspector/search.py", "(name in NEVER_EMPTY and not any(values))", "not any(values)", (SEARCH,)),
        Mutant("empty: inputs that a form left empty", FILTERS, "    if FORM not in data:\n        return data.copy()", "    if True:\n        return data.copy()", (SEARCH,)),
        Mutant("empty: invisible text in everything", "memoryhub/memories/text.py", "return None if fold(text) else", "return None if text else", (REFUSED, "tests/memories/test_secret_search.py")),
        Mutant("empty: groups without a collection", "memoryhub/conflicts/keys.py", "KEYED_BY = COLUMNS[:2]", "KEYED_BY = COLUMNS[:1]", (f"{GROUPING}::TestKeys",)),
        Mutant("empty: no groups for who asks for them", GROUPS, 'Q() if name in self.values else ~Q(**{name: ""})', '~Q(**{name: ""})', (f"{GROUPING}::TestKeys",)),
        Mutant("empty: decided by a policy about any collection", "memoryhub/conflicts/prospects.py", "rows.exclude(**about) if policy.collection is None else rows.filter(**about)", "rows if policy.collection is None else rows.filter(**about)", ("tests/conflicts/test_policy_runs.py::test_a_policy_is_about_the_groups_that_are_listed",)),
    ]  # fmt: skip


def _standing() -> list[Mutant]:
    empty_page = f"{LIFE}::test_before_anything_was_known_a_subject_has_an_empty_page"
    badge = f"{LIFE}::test_only_the_value_of_a_key_wears_the_badge_of_what_is_believed"
    again = f"{LIFE}::test_a_value_is_believed_again_when_a_later_one_has_expired"
    return [
        Mutant("subject: an empty page for whoever is not there", "memoryhub/timetravel/life.py", 'bool(newest(NOW.visible_history(about), 1, ("memory_id",)))', "True", (empty_page,)),
        Mutant("subject: no empty page", "memoryhub/timetravel/life.py", 'bool(newest(NOW.visible_history(about), 1, ("memory_id",)))', "False", (empty_page,)),
        Mutant("subject: every value believed", SUBJECTS, 'if spell.kind == "believed" and spell.key not in held:', "if False:", (badge,)),
        Mutant("subject: the last value believed at every instant", "memoryhub/timetravel/life.py", "(as_of is None or one.start <= as_of)", "True", (badge,)),
        Mutant("subject: ended by what has expired", "memoryhub/timetravel/life.py", '        if other["expires_at"] is None:\n', "        if True:\n", (again,)),
        Mutant("versions: in force in quarantine", "inspector/fields.py", 'status=memory["status"] if', 'status="active" if', ("tests/inspector/test_labels.py::test_a_version_in_quarantine_is_not_said_to_be_in_force",)),
        Mutant("groups: cut without a word", GROUPS, "return self.value_count > len(self.values)", "return False", ("tests/api/test_conflicts.py::test_a_group_says_that_more_is_said_than_is_told",)),
        Mutant("travel: no state of now", "memoryhub/timetravel/travel.py", 'if view == "list" and not any(', 'if view != "history" and not any(', ("tests/memories/test_moment.py::TestInstants",)),
        Mutant("fold: letters that share a capital", "memoryhub/memories/text.py", "    **dict(zip(map(ord, VARIANT_LETTERS), map(ord, PLAIN_LETTERS), strict=True)),\n", "", (FOLDING,)),
        Mutant("fold: in SQL alone", MIGRATION, "FOLD = _FOLD.format(unified=_UNIFIED)", "FOLD = _FOLD.format(unified=_STRIPPED)", (FOLDING,)),
        Mutant("fold: grams of before", MIGRATION, "IF EXISTS (SELECT FROM memories", "IF false AND EXISTS (SELECT FROM memories", (f"{MIGRATING}::test_a_final_sigma_that_was_stored_before_is_found_by_the_index",)),
    ]  # fmt: skip


MUTANTS = [*_expiry(), *_empty_values(), *_standing()]
