"""Each place that applies the rule, broken: what is put in place of what, and the tests that must notice."""

from tests.mutants import answers, availability, bounds, operators, sameness, transfers
from tests.mutants.labels import label_mutants
from tests.mutants.mutant import Mutant
from tests.mutants.secrets import secret_mutants
from tests.mutants.writes import write_mutants

TYPES = "memoryhub/firewall/types.py"
QUERYSETS = "memoryhub/firewall/querysets.py"
WALL = "memoryhub/firewall/wall.py"
SIGNERS = "memoryhub/firewall/cursors.py"
POLICIES = "memoryhub/memories/migrations/0005_row_security.py"
ROLES = "memoryhub/ops/roles.py"
ROWS = "memoryhub/memories/querysets.py"
FILTERS = "memoryhub/memories/filters.py"
MOMENTS = "memoryhub/memories/moment.py"
RECORDS = "memoryhub/memories/records.py"
TRAVEL = "memoryhub/timetravel/travel.py"
CLOCK = "memoryhub/memories/migrations/0009_first_instant.py"
TIER_LED = "memoryhub/memories/migrations/0012_tier_led_lookups.py"
COSTS = "tests/harness/test_plan_costs.py"
FACETS = "memoryhub/memories/facets.py"
PAGES = "memoryhub/memories/pages.py"
INGEST = "memoryhub/memories/ingest.py"
RELABEL = "memoryhub/memories/relabel.py"
STATUS = "memoryhub/ops/status.py"
EXPORTING = "memoryhub/ops/exporting.py"
TRAIL = "memoryhub/ops/trail.py"
LEDGER = "memoryhub/audit/ledger.py"
ENTRIES = "memoryhub/audit/migrations/0001_initial.py"
ENTRY_POLICIES = "memoryhub/audit/migrations/0002_row_security.py"
TURNS = "memoryhub/audit/migrations/0003_turns.py"
API = "memoryhub/api/views.py"
API_JUDGING = "memoryhub/api/judging.py"
DECISIONS = "memoryhub/conflicts/querysets.py"
DECISION_POLICIES = "memoryhub/conflicts/migrations/0002_row_security.py"
PLANS = "memoryhub/conflicts/plans.py"
DECIDE = "memoryhub/conflicts/decide.py"
TOLD_DECISIONS = "memoryhub/conflicts/decisions.py"
CHIPS = "memoryhub/conflicts/chips.py"
GROUPS = "memoryhub/conflicts/groups.py"
LISTING = "memoryhub/conflicts/listing.py"
RULES = "memoryhub/conflicts/policies.py"
RUNS = "memoryhub/conflicts/runs.py"
DECIDED = "inspector/decided.py"
CLAIMS = "memoryhub/conflicts/claims.py"
REJECTED_AGAIN = "memoryhub/memories/rejected.py"
AUTHENTICATION = "memoryhub/api/authentication.py"
PERMISSIONS = "memoryhub/api/permissions.py"
PRINCIPALS = "memoryhub/firewall/principals.py"
ACCESS = "inspector/access.py"
LIST = "inspector/views/memories.py"

EVERYTHING = "__import__('memoryhub.firewall.types').firewall.types.everything()"

PARITY = "tests/firewall/test_parity.py"
EDGES = f"{PARITY}::test_a_rule_at_its_edge"
COVERS = "tests/audit/test_row_security.py"
WORLDS = "tests/harness/test_two_worlds.py"
STORY = f"{WORLDS}::test_a_hundred_hidden_rows_between_two_change_nothing_at_any_door"
FIRST_WALL = f"{STORY}[the first wall alone]"
SECOND_WALL = f"{STORY}[the second wall alone]"
EXPORT = f"{WORLDS}::test_an_export_holds_what_its_reader_may_see_and_nothing_else"
ROW_SECURITY = "tests/harness/test_row_security.py"
SAME_ROWS = f"{ROW_SECURITY}::test_both_walls_show_the_same_rows"
MAY_NOT = f"{ROW_SECURITY}::test_the_application_may_not"
GRANTED_AGAIN = f"{ROW_SECURITY}::test_what_the_application_had_too_much_is_taken_when_it_is_granted_again"
ONE_CONNECTION = f"{ROW_SECURITY}::test_high_and_low_in_turn_on_one_connection_leak_nothing"
IN_QUARANTINE = "tests/firewall/test_quarantine.py"
QUARANTINE_POLICIES = "memoryhub/memories/migrations/0014_quarantine_row_security.py"
TALLIES_IN_QUARANTINE = (
    "tests/harness/test_row_security.py::test_the_tallies_of_what_is_in_quarantine_are_behind_both_walls"
)
EMPTIED = (
    "tests/audit/test_verify.py::test_a_ledger_that_was_emptied_is_broken_where_something_is_there_that_it_must_tell_of"
)
RECOUNT = "tests/memories/test_counts.py::test_every_count_is_what_a_recount_finds"
MATRIX = "tests/test_authorization.py::test_every_caller_gets_what_the_table_says"
READING = "tests/api/test_reading.py"
PAGING = "tests/api/test_pages.py"
AUTHENTICATED = "tests/api/test_authentication.py"
CURSORS = f"{PAGING}::TestCursors"
READS = "tests/ops/test_reads.py"
TRAILS = "tests/ops/test_trail.py"
RELABELLING = "tests/memories/test_relabel.py"
THEN = "tests/memories/test_moment.py"
HORIZON = "tests/harness/test_horizon.py"
DEFENCES = "tests/conflicts/test_defences.py"
LIFE = "tests/inspector/test_subjects.py::TestDecisions"
DECIDING = "tests/conflicts/test_decide.py"


def _the_rule() -> list[Mutant]:
    def sql(name: str, old: str, new: str) -> Mutant:
        return Mutant(name, QUERYSETS, old, new, (EDGES, PARITY))

    def python(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(name, TYPES, old, new, tests or (EDGES, PARITY))

    def covers(name: str, old: str, new: str = "True") -> Mutant:
        return Mutant(f"covers: {name}", TYPES, old, new, (COVERS,))

    def covered(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"covered_by: {name}", QUERYSETS, old, new, (COVERS,))

    return [
        sql("visible: no namespaces", "rule &= Q(namespace__in=sorted(clearance.namespaces))", "pass"),
        sql("visible: no blocked labels", "rule &= ~Q(label_keys__overlap=", "Q(label_keys__overlap="),
        sql("visible: blocked labels inverted", "rule &= ~Q(label_keys__overlap=", "rule &= Q(label_keys__overlap="),
        sql("visible: no tiers", "rule &= Q(classification_tier__in=stored_tiers(clearance))", "pass"),
        sql(
            "visible: tiers inverted",
            "rule &= Q(classification_tier__in=stored_tiers(clearance))",
            "rule &= ~Q(classification_tier__in=stored_tiers(clearance))",
        ),
        sql(
            "visible: no required labels",
            "rule &= Q(label_keys__contains=sorted(label_keys(clearance.required_labels)))",
            "pass",
        ),
        sql(
            "visible: one required label is enough",
            "rule &= Q(label_keys__contains=sorted(label_keys(clearance.required_labels)))",
            "rule &= Q(label_keys__overlap=sorted(label_keys(clearance.required_labels)))",
        ),
        sql("visible: the empty tier for everybody", '["", *tiers] if tiers else []', '["", *tiers]'),
        sql("visible: the empty tier for nobody", '["", *tiers] if tiers else []', "tiers"),
        python("tiers: one too many", "order.index(self.max_tier) + 1]", "order.index(self.max_tier) + 2]"),
        python("tiers: an unknown one reaches all", "if self.max_tier in order else []", "if self.max_tier in order else order"),
        python("permits: no namespaces", "if self.namespaces is not None and row.namespace", "if False and row.namespace"),
        python("permits: no blocked labels", "if labels & label_keys(self.blocked_labels):", "if False:"),
        python("permits: no tiers", "if row.classification_tier not in tiers and not", "if False and not"),
        python(
            "permits: the empty tier for everybody",
            '(row.classification_tier == "" and tiers)',
            '(row.classification_tier == "")',
        ),
        python(
            "permits: no required labels", "return label_keys(self.required_labels) <= labels", "return True"
        ),
        python("meet: the higher tier", "lower = min(self, other", "lower = max(self, other"),
        python("meet: one's own blocked labels", "blocked_labels=self.blocked_labels | other.blocked_labels", "blocked_labels=self.blocked_labels"),
        python("meet: one's own required labels", "required_labels=self.required_labels | other.required_labels", "required_labels=self.required_labels"),
        python("meet: the namespaces of either", "frozenset.intersection(*every)", "frozenset.union(*every)"),
        covers("tiers", "set(other.tiers()) <= set(self.tiers())"),
        covers("blocked labels", "label_keys(self.blocked_labels) <= label_keys(other.blocked_labels)"),
        covers("required labels", "label_keys(self.required_labels) <= label_keys(other.required_labels)"),
        covers("every namespace", "(other.namespaces is not None and other.namespaces <= self.namespaces)", "other.namespaces is None"),
        covers("namespaces", "and other.namespaces <= self.namespaces", "and True"),
        Mutant("quarantine: seen by everybody", QUERYSETS, "if not clearance.sees_quarantined:", "if False:", (IN_QUARANTINE,)),
        Mutant("quarantine: seen behind the second wall", QUARANTINE_POLICIES, "status <> 'quarantined' OR", "true OR", (TALLIES_IN_QUARANTINE,)),
        Mutant("quarantine: a status that everybody knows", FILTERS, "if status != QUARANTINED or clearance.sees_quarantined", "if True", (IN_QUARANTINE,)),
        Mutant("quarantine: seen by who only reads", TYPES, "sees_quarantined=self.may(Scope.INSPECT)", "sees_quarantined=self.may(Scope.READ)", (IN_QUARANTINE,)),
        Mutant("quarantine: seen by looking as somebody", "memoryhub/firewall/view_as.py", "(Scope.READ, Scope.INSPECT, ", "(Scope.READ, ", (IN_QUARANTINE,)),
        Mutant("quarantine: cursors of before are used with other scopes", SIGNERS, "        held.sees_quarantined,\n", "", (IN_QUARANTINE,)),
        covered("tiers", 'rule = {"tiers__contained_by": clearance.tiers()}', 'rule = {"tiers__isnull": False}'),
        covered("blocked labels", 'rule["blocked__contains"] = sorted(label_keys(clearance.blocked_labels))', "pass"),
        covered("required labels", 'rule["required__contains"] = sorted(label_keys(clearance.required_labels))', "pass"),
        covered("namespaces", 'rule["namespaces__contained_by"] = sorted(clearance.namespaces)', "pass"),
        python("opens: a lower tier does not", "is_lower_tier(after.classification_tier, before.classification_tier)", "False", RELABELLING),
        python("opens: a label less does not", "not label_keys(before.sensitivity_labels) <= label_keys(after.sensitivity_labels)", "False", RELABELLING),
        python("opens: a required label does not", "any(held.permits(after) and not held.permits(before) for held in clearances)", "False", RELABELLING),
    ]  # fmt: skip


def _the_first_wall() -> list[Mutant]:
    """The second wall would hide what these let through, so it is taken away."""

    def leak(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(name, file, old, new, tests or (FIRST_WALL,))

    return [
        leak("visible_to: everything", ROWS, "return self.filter(visible(clearance))", "return self.all()"),
        leak("filters: all rows", FILTERS, "Memory.objects.visible_to(clearance)", "Memory.objects.all()", f"{PAGING}::TestPages"),
        leak("filters: the rows of who sees every tier", FILTERS, "Memory.objects.visible_to(clearance)", f"Memory.objects.visible_to({EVERYTHING})"),
        leak("history: whatever is in force", MOMENTS, ".filter(Exists(self.of(rows).with_id(memory_id)))", "", f"{RELABELLING}::TestReaders"),
        leak("API: one memory", API, "seen = moment.of(Memory.objects.visible_to(principal(request).clearance))", "seen = moment.of(Memory.objects.all())"),
        leak("API: versions", API, "        seen = Memory.objects.visible_to(principal(request).clearance)\n", "        seen = Memory.objects.all()\n"),
        leak("page: one memory", LIST, "filters.moment.history(filters.seen, memory_id)", "filters.moment.history(Memory.objects.all(), memory_id)"),
        leak("page: one memory that was not there then", LIST, "NOW.history(Memory.objects.visible_to(request.principal.clearance), memory_id)", "NOW.history(Memory.objects.all(), memory_id)"),
        leak("page: a classification", "inspector/views/labels.py", "NOW.history(Memory.objects.visible_to(request.principal.clearance), memory_id)[:1]", "NOW.history(Memory.objects.all(), memory_id)[:1]"),
        leak("page: beside", LIST, "filters.moment.of(filters.seen).beside(about)", f"filters.moment.of(Memory.objects.visible_to({EVERYTHING})).beside(about)"),
        leak("facets: tallies", FACETS, "ClassifiedQuerySet(model).visible_to(filters.clearance).filter(count__gt=0)", "ClassifiedQuerySet(model).filter(count__gt=0)"),
        leak("status: counts by namespace", FACETS, "return ClassifiedQuerySet(MemoryCount).visible_to(clearance)", "return ClassifiedQuerySet(MemoryCount).all()"),
        leak("status: totals", FACETS, '.filter(dimension="total").visible_to(clearance)', '.filter(dimension="total")', RECOUNT),
        leak("status: what has a time to live", FACETS, "mortal = Memory.objects.visible_to(clearance).current()", f"mortal = Memory.objects.visible_to({EVERYTHING}).current()"),
        leak("status: the writes of the last minute", STATUS, "seen = Memory.objects.visible_to(clearance)", "seen = Memory.objects.all()"),
        leak("totals: for who is bound to namespaces", FACETS, 'if not values.keys() <= columns.keys() or (bound_to_namespaces and "namespace" not in columns):', "if not values.keys() <= columns.keys():"),
        leak("export: all versions", EXPORTING, "filters.moment.recorded(filters.seen).with_ids(", "type(filters.seen)(filters.seen.model).with_ids(", EXPORT),
        leak("relabel: one memory", RELABEL, "rows = _rows(found.visible_to(by.clearance))", "rows = _rows(found)", f"{RELABELLING}::TestWhoMay"),
        leak("relabel: the row that is locked", RELABEL, "seen = Memory.objects.visible_to(by.clearance).current().filter(id__in=wanted)", "seen = Memory.objects.filter(id__in=wanted)", f"{RELABELLING}::TestMany", f"{RELABELLING}::test_of_two_stewards_at_once_one_wins"),
        leak("relabel: undo", RELABEL, "seen = Memory.objects.visible_to(by.clearance)\n        rows", "seen = Memory.objects.all()\n        rows", f"{RELABELLING}::TestUndo"),
    ]  # fmt: skip


def _the_second_wall() -> list[Mutant]:
    def told(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"wall: {name}", WALL, old, new, tests or (SAME_ROWS,))

    def policy(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"policy: {name}", POLICIES, old, new, tests or (SAME_ROWS,))

    def grant(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"grant: {name}", ROLES, old, new, (MAY_NOT, GRANTED_AGAIN))

    nothing = f"{ROW_SECURITY}::test_who_does_not_say_who_asks_sees_nothing_and_no_error"
    missing = f"{ROW_SECURITY}::test_one_setting_that_is_missing_hides_everything"
    others = f"{ROW_SECURITY}::test_nobody_writes_under_a_source_that_is_not_theirs"
    forced = f"{ROW_SECURITY}::test_every_table_that_the_application_reaches_has_a_forced_policy_or_a_reason"
    claim = f"{ROW_SECURITY}::test_the_application_cannot_claim_another_record_time"
    own = f"{ROW_SECURITY}::test_a_writer_sees_the_rows_of_its_own_source_alone"
    totals = f"{ROW_SECURITY}::test_totals_that_know_no_namespace_answer_nobody_who_is_bound_to_some"
    return [
        told("no tiers", "_words(stored_tiers(clearance)),", '"",'),
        told("every tier", "_words(stored_tiers(clearance)),", '_words(["", "public", "internal", "confidential", "restricted"]),'),
        told("the empty tier for everybody", "_words(stored_tiers(clearance)),", '_words({"", *stored_tiers(clearance)}),'),
        told("no blocked labels", "_words(label_keys(clearance.blocked_labels)),", '"{}",'),
        told("blocked labels as they are spelled", "_words(label_keys(clearance.blocked_labels)),", "_words(clearance.blocked_labels),"),
        told("no required labels", "_words(label_keys(clearance.required_labels)),", '"{}",'),
        told("every namespace", "EVERY if clearance.namespaces is None else _words(clearance.namespaces)", "EVERY"),
        told("names that are not quoted", '.replace("\\\\", "\\\\\\\\")', ""),
        told("the session, for good", "set_config('memoryhub.{name}', %s, true)", "set_config('memoryhub.{name}', %s, false)", ONE_CONNECTION),
        told("what held before holds no more", "if before is not None:", "if False:", nothing),
        told("every source may be written", "EVERY if sources is None else _words(sources)", "EVERY", own, others),
        Mutant("walled: nobody tells", PERMISSIONS, "with wall.behind(principal(request).clearance):", "if True:", (f"{PAGING}::TestPages",)),
        Mutant("walled: not the list", API, "@docs.memories_list\n    @walled\n", "@docs.memories_list\n", (f"{PAGING}::TestPages",)),
        Mutant("walled: not the detail", API, "@docs.memory_detail\n    @walled\n", "@docs.memory_detail\n", (f"{READING}::TestOneMemory",)),
        Mutant("walled: not the facets", API, "@docs.facets\n    @walled\n", "@docs.facets\n", (f"{READING}::TestCounts",)),
        Mutant("pages: nobody tells", ACCESS, "with wall.behind(request.principal.clearance):\n            response = view(request, *args, **kwargs)\n        return _for_nobody_else(response)\n\n    return page\n\n\ndef person", "if True:\n            response = view(request, *args, **kwargs)\n        return _for_nobody_else(response)\n\n    return page\n\n\ndef person", ("tests/inspector/test_pages.py",)),
        policy("no namespaces", 'NAMESPACE = f"({EVERY_NAMESPACE} OR namespace = ANY', 'NAMESPACE = f"(true OR {EVERY_NAMESPACE} OR namespace = ANY'),
        policy("no blocked labels", "AND NOT label_keys && (SELECT firewall_words('blocked_labels'))", ""),
        policy("blocked labels inverted", "AND NOT label_keys &&", "AND label_keys &&"),
        policy("no tiers", "AND classification_tier = ANY ((SELECT firewall_words('tiers'))::varchar[])", ""),
        policy("no required labels", "AND label_keys @> (SELECT firewall_words('required_labels'))", ""),
        policy("one required label is enough", "AND label_keys @> (SELECT firewall_words('required_labels'))", "AND label_keys && (SELECT firewall_words('required_labels'))"),
        policy("everything", "THEN true END) IS NOT NULL", "THEN true END) IS NOT NULL OR true", nothing, SAME_ROWS),
        policy("what is not told is none", "THEN firewall_setting(name)::varchar[] END;", "THEN firewall_setting(name)::varchar[] ELSE '{}' END;", missing),
        policy("totals for who is bound to namespaces", 'of_a_tally("memory_totals", EVERY_NAMESPACE)', 'of_a_tally("memory_totals", "true")', totals),
        policy("tallies without namespaces", 'of_a_tally("memory_counts", NAMESPACE)', 'of_a_tally("memory_counts", "true")', SECOND_WALL),
        policy("days without namespaces", 'of_a_tally("memory_days", NAMESPACE)', 'of_a_tally("memory_days", "true")', SECOND_WALL),
        policy("whoever writes sees all", "WRITES = f\"({WRITES_ALL} OR source = ANY", "WRITES = f\"({WRITES_ALL} OR firewall_setting('writes_as') <> '' OR source = ANY", own),
        policy("whoever asks, writes", "FOR INSERT WITH CHECK ({written})", "FOR INSERT WITH CHECK (true)", others),
        policy("whoever asks, closes", "FOR UPDATE USING ({written}) WITH CHECK ({written})", "FOR UPDATE USING (true) WITH CHECK (true)", f"{ROW_SECURITY}::test_nobody_closes_what_they_may_only_see"),
        policy("not enabled", "    ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;\n", "", SAME_ROWS),
        policy("not forced", "    ALTER TABLE {table} FORCE ROW LEVEL SECURITY;\n", "", forced),
        policy("record time is claimed", "IF told = (SELECT instant FROM record_clock) THEN", "IF told IS NOT NULL THEN", claim),
        grant("memories can be changed", '"UPDATE (superseded_at)"', '"UPDATE"'),
        grant("memories can be deleted", '("SELECT", "INSERT", "UPDATE (superseded_at)")', '("SELECT", "INSERT", "UPDATE (superseded_at)", "DELETE")'),
        grant("entries can be changed", '"audit_entries": ("SELECT", "INSERT")', '"audit_entries": ("SELECT", "INSERT", "UPDATE")'),
        grant("entries can be deleted", '"audit_entries": ("SELECT", "INSERT")', '"audit_entries": ("SELECT", "INSERT", "DELETE")'),
        grant("the clock can be set", '"record_clock": ("SELECT",)', '"record_clock": ("SELECT", "UPDATE")'),
        grant("migrations can be forgotten", '"django_migrations": ("SELECT",)', '"django_migrations": ("SELECT", "DELETE")'),
        grant("what it had before stays", 'sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(name),', ""),
    ]  # fmt: skip


def _plans() -> list[Mutant]:
    half = (f"{COSTS}::test_a_caller_who_sees_half_of_the_rows_goes_through_no_index_of_all_tiers",)
    in_reach = "models.Q(('superseded_at__isnull', True), ('version__gte', 1)), fields=('{0}',{1}"
    out_of_reach = "models.Q(('superseded_at__isnull', True)), fields=('{0}',{1}"
    return [
        Mutant("plans: through the index of ids", TIER_LED, in_reach.format("memory_id", ")"), out_of_reach.format("memory_id", ")"), half),
        Mutant("plans: through the index of identities", TIER_LED, in_reach.format("source", " "), out_of_reach.format("source", " "), half),
        Mutant("plans: through the index of versions", TIER_LED, "condition=models.Q(('version__gte', 1)), fields=('memory_id', 'version')", "fields=('memory_id', 'version')", half),
    ]  # fmt: skip


def _doors() -> list[Mutant]:
    same_list = f"{CURSORS}::test_that_are_not_of_this_list_are_all_refused_alike"
    lowered = "tests/memories/test_pages.py::test_a_cursor_ends_with_the_clearance_that_it_was_made_under"
    refused = f"{AUTHENTICATED}::test_a_key_that_is_none_or_none_any_more_opens_nothing"
    return [
        Mutant("cursor: anybody's", SIGNERS, "        reader.name,\n", "", (same_list,)),
        Mutant("cursor: of any tier", SIGNERS, "        held.max_tier,\n", "", (lowered,)),
        Mutant("cursor: of any blocked labels", SIGNERS, "        sorted(held.blocked_labels),\n", "", (lowered,)),
        Mutant("cursor: of any required labels", SIGNERS, "        sorted(held.required_labels),\n", "", (lowered,)),
        Mutant("cursor: of any namespaces", SIGNERS, "        None if held.namespaces is None else sorted(held.namespaces),\n", "", (lowered,)),
        Mutant("cursor: of any filters", PAGES, ", sorted(filters.active))", ")", (same_list,)),
        Mutant("cursor: anybody can make one", PAGES, "signer.unsign(cursor)", 'cursor.rpartition(".")[0]', (same_list,)),
        Mutant("scopes: whoever is signed in may all", PERMISSIONS, "asking.require(view.scopes[method])", "pass", (MATRIX,)),
        Mutant("keys: revoked ones open", AUTHENTICATION, "if key.revoked_at is not None:", "if False:", (refused,)),
        Mutant("keys: expired ones open", AUTHENTICATION, "if key.expiry is not None and key.expiry <= timezone.now():", "if False:", (refused,)),
        Mutant("keys: of disabled users open", AUTHENTICATION, '    """knox\'s check of a hashed key, for keys that stay on record after they expire or are revoked."""\n', "    def validate_user(self, key: Any) -> Any:\n        return key.user, key\n", (refused,)),
        Mutant("sessions: no CSRF", AUTHENTICATION, '    """DRF\'s own; the challenge of the first class makes a missing sign-in a 401."""\n', "    def enforce_csrf(self, request: Any) -> None: ...\n", (f"{AUTHENTICATED}::TestSessions",)),
        Mutant("users: disabled ones see", PRINCIPALS, "if not user.is_authenticated or not user.is_active:", "if not user.is_authenticated:", ("tests/firewall/test_principals.py",)),
        Mutant("relabel: whoever may read", RELABEL, "plan.by.require(Scope.INSPECT)", "pass", (f"{RELABELLING}::TestWhoMay",)),
        Mutant("relabel: whoever may judge opens", RELABEL, 'return "declassification" if is_opened and not by.may(Scope.DECLASSIFY) else ""', 'return ""', (f"{RELABELLING}::TestWhoMay",)),
        Mutant("relabel: opens without a reason", RELABEL, "if plan.opened and not reason.strip():", "if False:", (f"{RELABELLING}::TestWhoMay",)),
        Mutant("relabel: out of one's own sight", RELABEL, "if not by.clearance.permits(after):", "if False:", (f"{RELABELLING}::TestWhoMay",)),
        Mutant("relabel: who may not read asks riddles", API_JUDGING, "principal(request).require(Scope.READ)", "pass", ("tests/api/test_relabel.py::TestOne", MATRIX)),
    ]  # fmt: skip


def _the_ledger() -> list[Mutant]:
    def entries(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"ledger: {name}", LEDGER, old, new, tests or ("tests/audit/test_ledger.py",))

    def policy(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"policy of entries: {name}", ENTRY_POLICIES, old, new, (COVERS,))

    def trail(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"trail: {name}", TRAIL, old, new, (TRAILS,))

    def unread(name: str, file: str, old: str, new: str) -> Mutant:
        return Mutant(f"reads: {name}", file, old, new, (READS,))

    kept = "tests/audit/test_ledger.py::test_nothing_is_changed_or_deleted"
    return [
        entries("chained to nothing", '"previous_hash": previous.hash.hex(),', '"previous_hash": NO_HASH.hex(),'),
        entries("outside of the deed's transaction", "if not connection.in_atomic_block:", "if False:"),
        Mutant("ledger: without a lock", TURNS, "PERFORM pg_advisory_xact_lock(hashtext('audit_head'));", "", ("tests/audit/test_ledger.py::test_sixteen_writers_make_one_chain",)),
        Mutant("ledger: entries are changed", ENTRIES, "operation='UPDATE OR DELETE OR TRUNCATE'", "operation='DELETE OR TRUNCATE'", (kept,)),
        Mutant("ledger: entries are deleted", ENTRIES, "operation='UPDATE OR DELETE OR TRUNCATE'", "operation='UPDATE OR TRUNCATE'", (kept,)),
        Mutant("ledger: entries are emptied", ENTRIES, "operation='UPDATE OR DELETE OR TRUNCATE'", "operation='UPDATE OR DELETE'", (kept,)),
        Mutant("ledger: emptied with its head and whole", "memoryhub/audit/verify.py", "if is_hub_in_use and last.seq == 0:", "if False:", (EMPTIED,)),
        Mutant("ledger: emptied though there are memories", "memoryhub/ops/management/commands/audit.py", " or clock.has_records()", "", (EMPTIED,)),
        Mutant("ledger: emptied though there are keys", "memoryhub/ops/management/commands/audit.py", " OR EXISTS (SELECT FROM api_keys)", "", (EMPTIED,)),
        Mutant("ledger: nothing of the first start", "memoryhub/ops/first_start.py", "deeds.tell(action, by=STARTER,", "dict(by=STARTER,", ("tests/audit/test_verify.py::test_a_hub_that_was_started_for_the_first_time_is_whole",)),
        policy("no tiers", "reach_tiers <@ {TIERS}", "true"),
        policy("no blocked labels", "AND reach_blocked @> {BLOCKED}", ""),
        policy("no required labels", "AND reach_required @> {REQUIRED}", ""),
        policy("no namespaces", "AND ((SELECT current_setting('memoryhub.namespaces', true)) = '*' OR reach_namespaces <@ {NAMESPACES})", ""),
        policy("whoever writes sees all", "(SELECT current_setting('memoryhub.writes_as', true)) = '*'", "(SELECT current_setting('memoryhub.writes_as', true)) IS NOT NULL"),
        policy("not forced", "            ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY;\n", ""),
        trail("without covered_by", "AuditEntry.objects.filter(covered_by(clearance), _concerns(clearance), rule)", "AuditEntry.objects.filter(_concerns(clearance), rule)"),
        trail("of what is hidden by now", "AuditEntry.objects.filter(covered_by(clearance), _concerns(clearance), rule)", "AuditEntry.objects.filter(covered_by(clearance), rule)"),
        trail("of a hidden memory", "if not _visible(viewer.clearance).with_id(memory_id).exists():", "if False:"),
        trail("hidden memories are named", "[memory_id for memory_id in row.memory_ids if memory_id in known]", "list(row.memory_ids)"),
        trail("hidden memories were told", "for each, ats in told.items() if each in known]", "for each, ats in told.items()]"),
        unread("of the API", API, 'if request.method in ("GET", "HEAD") and response.status_code == 200:', "if False:"),
        unread("counted of those who see more", "memoryhub/ops/reads.py", "rule |= covered_by(reader.clearance)", "rule |= ~Q(principal=\"\")"),
        unread("counted together whatever the clearance", "memoryhub/ops/reads.py", "hashlib.sha256(reach).digest()", 'hashlib.sha256(b"").digest()'),
        unread("what the API's list showed", API, 'self.told = [record["memory_id"] for record in page.records]', "pass"),
        unread("which memory the API showed", API, "found = whole(request, memory_id, filters.moment)\n        self.told = [memory_id]", "found = whole(request, memory_id, filters.moment)"),
        unread("whose versions the API showed", API, "self.told = [memory_id]\n        return Response({\"versions\"", "return Response({\"versions\""),
        unread("of the list's page", LIST, "reads.asked(request, by=request.principal, memory_ids=_ids(page.records))", "pass"),
        unread("of a memory's page", LIST, "reads.asked(request, by=request.principal, memory_ids=[memory_id, *_ids(related)])", "pass"),
        unread("what stood beside it", LIST, "memory_ids=[memory_id, *_ids(related)]", "memory_ids=[memory_id]"),
        Mutant("reveal: without an entry", LIST, "    ledger.append(\n        ledger.Event(\n            principal=request.principal.name,\n            action=\"memory.reveal\",", "    str(\n        ledger.Event(\n            principal=request.principal.name,\n            action=\"memory.reveal\",", ("tests/inspector/test_hostile.py", "tests/test_authorization.py::test_every_deed_is_one_entry_in_the_ledger_and_a_refused_one_is_none")),
        Mutant("ingest: without an entry", INGEST, "        ledger.append(event)", "        str(event)", ("tests/test_authorization.py::test_every_deed_is_one_entry_in_the_ledger_and_a_refused_one_is_none",)),
        Mutant("relabel: without an entry", RELABEL, "        ledger.append(replace(_event(plan, reason), route=route, request_id=request_id))", "", (f"{RELABELLING}::TestMany",)),
    ]  # fmt: skip


def _time_travel() -> list[Mutant]:
    def rows(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"as of: {name}", ROWS, old, new, tests or (THEN,))

    def moment(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"moment: {name}", MOMENTS, old, new, (THEN,))

    def travel(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"travel: {name}", TRAVEL, old, new, tests or (THEN,))

    def clock(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"clock: {name}", CLOCK, old, new, (HORIZON,))

    firewall, record_time = f"{THEN}::TestTheFirewall", f"{THEN}::TestRecordTime"
    return [
        rows("what is hidden now", "self.filter(self._seen_now(), recorded_at__lte=instant)", "self.filter(recorded_at__lte=instant)", firewall),
        rows("what was recorded later", "self.filter(self._seen_now(), recorded_at__lte=instant)", "self.filter(self._seen_now())", record_time),
        rows("not at its first microsecond", "recorded_at__lte=instant", "recorded_at__lt=instant", record_time),
        rows("what was superseded by then", "in_force = Q(InForce(F(\"superseded_at\"), Value(instant, DateTimeField())))", "in_force = Q()", record_time),
        rows("at its last microsecond, too", "arg_joiner = \", 'infinity') > (\"", "arg_joiner = \", 'infinity') >= (\"", record_time),
        rows("what had expired by then", "Q(expires_at__isnull=True) | Q(expires_at__gt=self._judged_at)", "Q()", record_time),
        rows("what expires at it", "Q(expires_at__gt=self._judged_at)", "Q(expires_at__gte=self._judged_at)", record_time),
        rows("not what was foretold", "ends = [(False, self.instant + FORETOLD_AFTER), (True, END_OF_TIME)]", "ends = [(False, self.instant + FORETOLD_AFTER)]", record_time),
        rows("nothing that comes within a day", "ends = [(False, self.instant + FORETOLD_AFTER),", "ends = [(False, self.instant),", record_time),
        rows("believed: rivals of every tier", "same_key = self.filter(\n", f"same_key = type(self)(self.model).visible_to({EVERYTHING}).filter(\n            status='active',\n", FIRST_WALL),
        rows("believed: rivals of every instant", "same_key = self.filter(\n", "same_key = type(self)(self.model).visible_to(self.seen_by).filter(\n"),
        rows("believed: without a subject", 'self.exclude(subject="").filter(IsNull(Subquery(later', "self.filter(IsNull(Subquery(later"),
        rows("believed: the first", "(timestamp, coalesce(said_at, recorded_at), coalesce(said_id, id)) > (", "(timestamp, coalesce(said_at, recorded_at), coalesce(said_id, id)) < ("),
        moment("of: every event", "return in_force.filter(timestamp__lte=self.as_of) if self.as_of else in_force", "return in_force"),
        moment("of: not at its own microsecond", "return in_force.filter(timestamp__lte=self.as_of)", "return in_force.filter(timestamp__lt=self.as_of)"),
        moment("of: what is known now", "rows.current() if self.known_at is None else rows.known_at(self.known_at)", "rows.current()"),
        moment("history: what is known now", "known = rows if self.known_at is None else rows.recorded_by(self.known_at)", "known = rows"),
        moment("asked: what is still to come", "min(as_of, now or clock.now())", "as_of"),
        Mutant("records: when a version will end", RECORDS, 'record["superseded_at"] = None', "pass", (record_time,)),
        travel("all rows", "asked, clearance=reader.clearance, besides=PARAMETERS", f"asked, clearance={EVERYTHING}, besides=PARAMETERS", FIRST_WALL),
        travel("pages of now", 'return asked, rest', 'asked["known_at"] = clock.settle().isoformat()\n    return asked, rest', record_time),
        travel("what was erased is not counted", 'filters.qs.filter(status="erased")', 'filters.qs.filter(status="retired")', record_time),
        clock("what was told comes again", "greatest(clock_timestamp(), greatest(clock.instant, record_told()) + interval '1 microsecond')", "greatest(clock_timestamp(), clock.instant + interval '1 microsecond')"),
        clock("the first instant of all is an old one", "    IF moment <= record_told() THEN\n", "    IF false THEN\n"),
        clock("nothing is told", "PERFORM setval('record_told', (extract(epoch FROM settled) * 1000000)::bigint) WHERE settled > record_told();", ""),
        clock("a reader keeps it", "        RAISE SQLSTATE 'MH000';\n", ""),
        clock("a reader waits for nobody", "    IF asked <= settled THEN\n", "    IF true THEN\n"),
        clock("the status waits", "PERFORM set_config('lock_timeout', '100ms', true);", "NULL;"),
        Mutant("grant: what was told can be set", ROLES, 'sql.SQL("REVOKE ALL ON SEQUENCE record_told FROM {}").format(name),', "", (MAY_NOT,)),
    ]  # fmt: skip


def _conflicts() -> list[Mutant]:
    def seen(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"decisions: {name}", DECISIONS, old, new, (DEFENCES,))

    def policy(name: str, old: str, new: str = "") -> Mutant:
        return Mutant(f"policy of decisions: {name}", DECISION_POLICIES, old, new, (DEFENCES,))

    def plan(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"decide: {name}", PLANS, old, new, tests or (f"{DECIDING}::TestTheFirewall",))

    def deed(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"decide: {name}", DECIDE, old, new, tests)

    def again(name: str, old: str, new: str, *tests: str) -> Mutant:
        tests = tests or (f"{DECIDING}::TestArrivingAgain",)
        return Mutant(f"arriving again: {name}", REJECTED_AGAIN, old, new, tests)

    def claim(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"claim: {name}", CLAIMS, old, new, ("tests/conflicts/test_claims.py",))

    def status(name: str, file: str, old: str, new: str) -> Mutant:
        return Mutant(f"status: {name}", file, old, new, (DEFENCES,))

    def told(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"decisions told: {name}", TOLD_DECISIONS, old, new, (DEFENCES,))

    def policies(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"policies: {name}", file, old, new, tests or ("tests/conflicts/test_policy_runs.py",))

    refused, undoing = f"{DECIDING}::TestWhatIsRefused", f"{DECIDING}::TestUndo"
    once = f"{DEFENCES}::test_a_decision_is_undone_once_though_two_find_it_in_force"
    return [
        seen("no tiers", "rule = Q(tiers__contained_by=stored_tiers(clearance))", "rule = Q()"),
        seen("one open tier is enough", "tiers__contained_by=", "tiers__overlap="),
        seen("no blocked labels", "rule &= ~Q(some_labels__overlap=sorted(label_keys(clearance.blocked_labels)))", "pass"),
        seen("blocked labels that all have", "~Q(some_labels__overlap=", "~Q(all_labels__overlap="),
        seen("no required labels", "rule &= Q(all_labels__contains=sorted(label_keys(clearance.required_labels)))", "pass"),
        seen("a required label that one has", "Q(all_labels__contains=", "Q(some_labels__contains="),
        seen("no namespaces", "rule &= Q(namespaces__contained_by=sorted(clearance.namespaces))", "pass"),
        seen("one namespace is enough", "namespaces__contained_by=", "namespaces__overlap="),
        seen("what is hidden since", "return self.filter(rule, memory_ids__len=Subquery(seen.values(\"number\")))", "return self.filter(rule)"),
        seen("one that is not hidden since is enough", "memory_ids__len=Subquery", "memory_ids__len__gte=Subquery"),
        seen("what everybody may see by now", "Memory.objects.visible_to(clearance).filter(superseded_at", "Memory.objects.filter(superseded_at"),
        Mutant("decisions: in force though undone", DECISIONS, "self.filter(made, waiting, ~Exists(undone)).exclude", "self.filter(made, waiting).exclude", (DEFENCES,)),
        Mutant("decisions: in force though put off until today", DECISIONS, "self.filter(made, waiting, ~Exists", "self.filter(made, ~Exists", (DEFENCES,)),
        policy("no tiers", "tiers <@ (SELECT firewall_words('tiers'))", "true"),
        policy("no blocked labels", "AND NOT some_labels && (SELECT firewall_words('blocked_labels'))"),
        policy("no required labels", "AND all_labels @> (SELECT firewall_words('required_labels'))"),
        policy("no namespaces", "AND ((SELECT firewall_setting('namespaces')) = '*' OR namespaces <@ (SELECT firewall_words('namespaces')))"),
        policy("whoever writes sees all", "(SELECT firewall_setting('writes_as')) = '*'", "(SELECT firewall_setting('writes_as')) IS NOT NULL"),
        policy("whoever reads adds", "(SELECT firewall_setting('writes_as')) <> ''", "true"),
        policy("not forced", "            ALTER TABLE decisions FORCE ROW LEVEL SECURITY;\n"),
        plan("what low readers would miss is retired", "left = {loser.memory_id for loser in losers if any(opening(one, loser) for one in shown)}", "left: set[UUID] = set()"),
        plan("a loser is asked of the values kept alone", "shown = {_shown(member) for member in found}", "shown = {_shown(member) for member in kept}"),
        plan("a merged value opens", "if merged and any(opening(member, merged) for member in found):", "if False:"),
        plan("what opens is asked of nobody", "opens(_Shown(*before), _Shown(*after), clearances)", "opens(_Shown(*before), _Shown(*after))"),
        plan("a merged value as open as the first", "max((member.classification_tier", "min((member.classification_tier", DEFENCES),
        plan("on whatever there is by now", "if wish.evidence != evidence_of((member.memory_id, member.version) for member in found):", "if False:", DEFENCES, refused),
        plan("twice on the same", "if (wish.key, wish.evidence) in settled:", "if False:", refused),
        plan("while somebody else does", "if wish.key in claimed:", "if False:", DEFENCES),
        plan("on all rows", "Memory.objects.visible_to(by.clearance).current()", "Memory.objects.filter(superseded_at=None)", DEFENCES),
        deed("whoever may read", "by.require(Scope.INSPECT, Scope.READ)", "by.require(Scope.READ)", refused),
        deed("whoever may judge and not read", "by.require(Scope.INSPECT, Scope.READ)", "by.require(Scope.INSPECT)", refused),
        deed("an undo of what is hidden", "Decision.objects.visible_to(by.clearance).filter(decision_id__in=decision_ids).undone_by()", "Decision.objects.filter(decision_id__in=decision_ids).undone_by()", DEFENCES),
        deed("an undo of an undo", 'if decision.outcome == "undo":', "if False:", undoing),
        deed("an undo twice", 'return "already_undone" if getattr(decision, "undo", None) else ""', 'return ""', undoing),
        Mutant("decide: an undo twice in the table", "memoryhub/conflicts/migrations/0001_initial.py", "null=True, unique=True)", "null=True)", (once,)),
        deed("without an entry", '_tell("conflict.decide", by, touched, told, route=route, request_id=request_id)', "pass", f"{DECIDING}::test_of_two_stewards_who_decide_at_once_one_does"),
        deed("an undo without an entry", '_tell("conflict.undo", by, touched, details, route=route, request_id=request_id)', "pass", DEFENCES),
        again("a rejection that is hidden from readers", "not opens(row, made, clearances)", "True"),
        again("a rejection hidden from some readers", "opens(row, made, clearances)", "opens(row, made)"),
        again("in another namespace", "row.namespace == made.namespace and ", ""),
        again("whoever says it", "if not shared or TRUST[made.actor_type] > max(row.trust for row in shared):", "if not shared:"),
        again("all of them", "visible = Memory.objects.visible_to(clearance)", "visible = Memory.objects.all()", DEFENCES),
        told("one", "seen = Decision.objects.visible_to(reader.clearance).filter(decision_id=decision_id)", "seen = Decision.objects.filter(decision_id=decision_id)"),
        told("about a key", "seen = Decision.objects.visible_to(clearance).filter(wanted)", "seen = Decision.objects.filter(wanted)"),
        told("in a list", "Decision.objects.visible_to(clearance).filter(rule)", "Decision.objects.filter(rule)"),
        told("a merged memory that is hidden", "row.merged if row.merged in seen else None", "row.merged"),
        Mutant("decisions told: in the life of a subject", DECIDED, "decisions.about(sorted(set(_keys(life))), clearance=clearance)", f"decisions.about(sorted(set(_keys(life))), clearance={EVERYTHING})", (LIFE,)),
        Mutant("decisions told: that were made later", DECIDED, "if known_at is None or one.recorded_at <= known_at", "", (LIFE,)),
        status("chips of what is hidden", CHIPS, "moment.active(Memory.objects.visible_to(clearance))", "moment.of(Memory.objects.all())"),
        status("chips by hidden decisions", CHIPS, "Decision.objects.visible_to(clearance).in_force", "Decision.objects.in_force"),
        status("chips though decided", CHIPS, "({settling}) IS NULL", "(({settling}) IS NULL OR true)"),
        status("no chips of what nobody had seen", CHIPS, "about.filter(~Exists(unsettled)).values", "about.values"),
        status("chips settled by another key", CHIPS, ".filter(namespace__isnull=True, **_OF_KEY)", ".filter(**_OF_KEY)"),
        status("decided by hidden decisions", GROUPS, "Decision.objects.visible_to(self.clearance)", "Decision.objects.all()"),
        status("decided though undone", GROUPS, "return decisions.in_force(self.moment.known_at)", "return decisions"),
        status("open though decided", LISTING, "coalesce(bool_or(settles), false) AS is_settled", "false AS is_settled"),
        status("settled by one value of several", LISTING, "settled__contains=OfKey", "settled__overlap=OfKey"),
        status("settled by another key", LISTING, 'self.filters.decisions.filter(namespace__isnull="namespace" not in self.columns)', "self.filters.decisions"),
        policies("whoever may judge writes them", RULES, "by.require(Scope.ADMIN)", "pass", "tests/conflicts/test_policies.py"),
        policies("of namespaces that are hidden", RULES, "if made.namespace is not None and seen is not None and made.namespace not in seen:", "if False:", "tests/conflicts/test_policies.py"),
        policies("of those who see more", RULES, "rule = covered_by(clearance)", "rule = Q()", "tests/conflicts/test_policies.py"),
        policies("with the reach of who changed them", RULES, "before.reach if before else reach_columns(reach_of(by.clearance))", "reach_columns(reach_of(by.clearance))", "tests/conflicts/test_policies.py"),
        policies("written into by who sees more", RULES, 'raise Rejected({"": [OTHER_REACH]}, "other_reach")', "pass", "tests/conflicts/test_policies.py"),
        policies("named by a decision to everybody", TOLD_DECISIONS, "if row.policy in {None, *known} else _HIDDEN_POLICY", "", "tests/conflicts/test_policies.py"),
        policies("decisions found by their hidden policy", TOLD_DECISIONS, "rule &= shows_policy\n", "pass\n", "tests/conflicts/test_policies.py"),
        policies("decisions found by the name of their hidden policy", TOLD_DECISIONS, "(shows_policy & Q(reason__icontains", "(Q(reason__icontains", "tests/conflicts/test_policies.py"),
        policies("whoever may judge runs them", RUNS, "by.require(Scope.ADMIN)", "pass"),
        policies("runs of those who see more", RUNS, "PolicyRun.objects.filter(covered_by(by.clearance), ", "PolicyRun.objects.filter("),
        policies("runs go on with another clearance", RUNS, 'return "other_reach"', 'return ""'),
        policies("runs go on with rules of before", RUNS, 'return "superseded"', 'return ""'),
        claim("told to everybody", "row.principal in seen and by.clearance.covers(seen[row.principal])", "row.principal in seen"),
        claim("of everybody else is taken away", "_of(key).filter(Q(principal=by.name) | Q(until__lte=now)).delete()", "_of(key).delete()"),
        claim("without waiting for one another", "        _lock(key)\n", ""),
        claim("one's own hides that of another", "ordered = sorted(rows, key=lambda row: (row.principal != by.name,", "ordered = sorted(rows, key=lambda row: (row.principal == by.name,"),
        claim("whoever may read", "by.require(Scope.INSPECT)", "pass"),
    ]  # fmt: skip


MUTANTS = [
    *_the_rule(), *label_mutants(), *_the_first_wall(), *_the_second_wall(), *_plans(), *_doors(), *_the_ledger(),
    *_time_travel(), *_conflicts(), *write_mutants(), *secret_mutants(), *sameness.MUTANTS, *transfers.MUTANTS, *answers.MUTANTS,
    *availability.MUTANTS, *operators.MUTANTS, *bounds.MUTANTS,
]  # fmt: skip
