"""Decisions about conflicts, their policies and their claims, broken."""

from tests.mutation.mutant import Mutant
from tests.mutation.shared_constants import UNRESTRICTED_CLEARANCE

DECISIONS = "memoryhub/conflicts/decisions/querysets.py"
DECISION_POLICIES = "memoryhub/conflicts/migrations/0002_row_level_security.py"
RESOLUTION_PLAN = "memoryhub/conflicts/decisions/plans.py"
RESOLVE = "memoryhub/conflicts/decisions/resolve.py"
DECISION_QUERIES = "memoryhub/conflicts/decisions/decision_queries.py"
OPEN_GROUPS = "memoryhub/conflicts/groups/open_groups.py"
GROUPS = "memoryhub/conflicts/groups/groups.py"
POLICY_EVALUATION = "memoryhub/conflicts/policies/policy_evaluation.py"
GROUP_KEY_QUERIES = "memoryhub/conflicts/groups/group_queries.py"
CONFLICT_POLICIES = "memoryhub/conflicts/policies/policies.py"
RUNS = "memoryhub/conflicts/policies/policy_runs.py"
SUBJECT_DECISIONS = "inspector/presenters/subject_decisions.py"
CLAIMS = "memoryhub/conflicts/decisions/claims.py"
REJECTED_VALUES = "memoryhub/memories/writes/rejected_values.py"

OPEN_GROUP_TESTS = "tests/conflicts/groups/test_open_groups.py"
OPEN_GROUP_ORACLE_TEST = (
    "tests/conflicts/groups/test_open_groups.py::test_lists_queue_dry_run_and_marks_agree_with_the_recount"
)
DEFENCE_TESTS = "tests/conflicts/decisions/test_visibility.py"
SUBJECT_DECISION_TESTS = "tests/inspector/test_subject_history.py::TestDecisions"
RESOLVE_TESTS = "tests/conflicts/decisions/test_resolve.py"
DECISION_READER_TESTS = "tests/conflicts/decisions/test_decision_readers.py"
UNDO_TESTS = "tests/conflicts/decisions/test_undo.py"


def conflict_mutants() -> list[Mutant]:
    def decision_queryset_mutant(name: str, old: str, new: str) -> Mutant:
        return Mutant(f"decisions: {name}", DECISIONS, old, new, (DEFENCE_TESTS,))

    def policy_mutant(name: str, old: str, new: str = "") -> Mutant:
        return Mutant(f"policy of decisions: {name}", DECISION_POLICIES, old, new, (DEFENCE_TESTS,))

    def plan_mutant(name: str, old: str, new: str, *tests: str) -> Mutant:
        tests = tests or (f"{DECISION_READER_TESTS}::TestTheFirewall",)
        return Mutant(f"decide: {name}", RESOLUTION_PLAN, old, new, tests)

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

    refusal_tests, undo_tests = f"{RESOLVE_TESTS}::TestRefusals", f"{UNDO_TESTS}::TestUndo"
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
