"""The rules of a write, broken: an answer would tell of hidden rows, or a writer lower what others raised."""

from tests.mutation.mutant import Mutant

PRINCIPAL_TYPE = "memoryhub/firewall/principal.py"
MEMORY_WRITE = "memoryhub/memories/writes/write.py"
IDENTITY = "memoryhub/memories/writes/identity.py"
FIREWALL_MODELS = "memoryhub/firewall/models.py"
REJECTED_VALUES = "memoryhub/memories/writes/rejected_values.py"
RESOLUTION_PLAN = "memoryhub/conflicts/decisions/plans.py"
WRITING_TESTS = "tests/api/native/test_writes.py"


def write_mutants() -> list[Mutant]:
    sources, declassification_tests = "tests/memories/test_sources.py", "tests/memories/test_declassification.py"

    def identity_mutant(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"write: {name}", IDENTITY, old, new, tests or (declassification_tests,))

    one_envelope_tests, import_tests = f"{WRITING_TESTS}::TestOneEnvelope", f"{sources}::TestOperatorImport"
    actors = "tests/firewall/test_actors.py"
    return [
        Mutant("write: as any source", MEMORY_WRITE, "if isinstance(source, str) and not principal.may_write_as(source):", "if False:", (f"{one_envelope_tests}::test_under_another_source_is_refused",)),
        Mutant("write: any admin as any source", PRINCIPAL_TYPE, "source == self.source or self.is_unrestricted_admin", "source == self.source or self.has_scope(Scope.ADMIN)", (f"{sources}::test_an_admin_who_does_not_see_everything_writes_as_no_other_source",)),
        Mutant("write: within the reading clearance of a key", MEMORY_WRITE, "| Source.objects.get_clearances(sources)", "", (f"{sources}::test_every_key_of_a_source_writes_within_the_clearance_of_the_source",)),
        Mutant("write: a source follows each of its keys", FIREWALL_MODELS, "sorted(set(names))], ignore_conflicts=True)", "sorted(set(names))], update_conflicts=True, update_fields=list(fields), unique_fields=['name'])", (f"{sources}::test_a_source_takes_the_clearance_of_its_first_key",)),
        identity_mutant("beyond the clearance of the source", "if principal.is_operator or clearance.permits(draft):", "if True:", f"{one_envelope_tests}::test_above_the_writers_own_clearance_is_refused"),
        identity_mutant("for any actor type", "if not principal.may_write_for_actor_type(actor_type=draft.actor_type):", "if False:", actors),
        identity_mutant("for any actor", "if not principal.may_write_as_actor(actor_id=draft.actor_id):", "if False:", actors),
        identity_mutant("meets what the operator hid from its source", "[sources, payload_ids, principal.is_operator]", "[sources, payload_ids, True]", import_tests),
        identity_mutant("nothing is beyond a source", "exceeds_source_clearance=not clearance.permits(draft),", "exceeds_source_clearance=False,", import_tests),
        identity_mutant("an update declassifies", "    if not principal.has_scope(Scope.DECLASSIFY):\n        _reject_declassification(draft, stored_version.last_sent)", "    if False:\n        pass"),
        identity_mutant("an update is compared with what others made of it", "_reject_declassification(draft, stored_version.last_sent)", "_reject_declassification(draft, stored_version.current)"),
        identity_mutant("an update is merged over what others made of it", "stored_version.current if principal.is_operator else stored_version.last_sent\n        )", "stored_version.current)"),
        identity_mutant("an update ends a quarantine", "stored_version.status if stored_version.status == \"quarantined\" else \"active\"", '"active"'),
        identity_mutant("an update lowers what others raised", "(is_set_by_source or is_lower_tier(tier, draft.classification_tier))", "True"),
        identity_mutant("an update takes away the labels of others", "labels_by_key = {\n            normalize_label(label): label for label in labels if normalize_label(label) not in removed_keys\n        }", "labels_by_key: dict[str, str] = {}"),
        identity_mutant("an update moves back what others moved", ' and namespace == last_sent.namespace:', ":"),
        identity_mutant("an import changes what its source sent", "sent_draft=sent_draft, status=stored_version.status)", "last_sent=Classification.from_row(draft), status=stored_version.status)", import_tests),
        Mutant("write: rejected values of a source as others classified them", REJECTED_VALUES, "_SENT_COLUMNS = (\"sent_namespace\", \"sent_tier\", \"sent_labels\")", "_SENT_COLUMNS = _CURRENT_COLUMNS", (f"{sources}::test_whether_a_value_was_rejected_does_not_reveal_that_its_memory_was_raised",)),
        identity_mutant("an import hides under the id of a source's memory", "    if not clearance.permits(draft):\n        reject_hidden_overwrite", "    if False:\n        reject_hidden_overwrite", import_tests),
        Mutant("write: an export hides under the id of a source's memory", "memoryhub/memories/writes/restore.py", "    if _exceeds_source_clearance(draft, context):\n        reject_hidden_overwrite(draft, current)\n    is_newer", "    is_newer", (import_tests,)),
        Mutant("write: rejected for what a source may not see", REJECTED_VALUES, ", decision_exceeds_source=False), _SENT_COLUMNS\n    )", "), _SENT_COLUMNS)", (f"{sources}::test_what_was_raised_and_rejected_for_something_that_its_source_may_not_see_is_not_rejected_to_that",)),
        Mutant("write: rejected for what a source may not see, as it was classified", RESOLUTION_PLAN, "if exceeds_source(member.source, _sent_classification(member))", "if exceeds_source(member.source, _current_classification(member))", (f"{sources}::test_what_was_raised_and_rejected_for_something_that_its_source_may_not_see_is_not_rejected_to_that",)),
        Mutant("write: rejected for its own that was raised", RESOLUTION_PLAN, "(*other_classifications, *sent_by_source[source])", "sources_by_classification", (f"{sources}::test_whether_a_value_was_rejected_does_not_reveal_that_its_memory_was_raised",)),
        Mutant("write: rejected values that a source could not see", REJECTED_VALUES, "        if clearance.permits(rejected_row):", "        if True:", (f"{sources}::test_a_value_that_was_rejected_of_a_memory_that_the_key_may_not_read_is_not_rejected_again",)),
    ]  # fmt: skip
