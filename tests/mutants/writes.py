"""The rules of a write, broken: an answer would tell of hidden rows, or a writer lower what others raised."""

from tests.mutants.mutant import Mutant

TYPES = "memoryhub/firewall/types.py"
INGEST = "memoryhub/memories/ingest.py"
IDENTITY = "memoryhub/memories/identity.py"
FIREWALL_MODELS = "memoryhub/firewall/models.py"
REJECTED_AGAIN = "memoryhub/memories/rejected.py"
PLANS = "memoryhub/conflicts/plans.py"
WRITING = "tests/api/test_writing.py"


def write_mutants() -> list[Mutant]:
    sources, closed = "tests/memories/test_sources.py", "tests/memories/test_declassification.py"

    def identity(name: str, old: str, new: str, *tests: str) -> Mutant:
        return Mutant(f"write: {name}", IDENTITY, old, new, tests or (closed,))

    one, imported = f"{WRITING}::TestOneEnvelope", f"{sources}::TestWhatTheOperatorImported"
    actors = "tests/firewall/test_actors.py"
    return [
        Mutant("write: as any source", INGEST, "if isinstance(named, str) and not by.may_write_as(named):", "if False:", (f"{one}::test_under_another_source_is_refused",)),
        Mutant("write: any admin as any source", TYPES, "(Scope.ADMIN in self.scopes and self.clearance.covers(everything()))", "Scope.ADMIN in self.scopes", (f"{sources}::test_an_admin_who_does_not_see_everything_writes_as_no_other_source",)),
        Mutant("write: within the reading clearance of a key", INGEST, "| Source.objects.clearances(sources)", "", (f"{sources}::test_every_key_of_a_source_writes_within_the_clearance_of_the_source",)),
        Mutant("write: a source follows each of its keys", FIREWALL_MODELS, "sorted(set(names))], ignore_conflicts=True)", "sorted(set(names))], update_conflicts=True, update_fields=list(fields), unique_fields=['name'])", (f"{sources}::test_a_source_takes_the_clearance_of_its_first_key",)),
        identity("beyond the clearance of the source", "if by.is_operator or clearance.permits(draft):", "if True:", f"{one}::test_above_the_writers_own_clearance_is_refused"),
        identity("for any actor type", "if not by.may_speak_for(actor_type=draft.actor_type):", "if False:", actors),
        identity("for any actor", "if not by.may_speak_as(actor_id=draft.actor_id):", "if False:", actors),
        identity("meets what the operator hid from its source", "[sources, payload_ids, by.is_operator]", "[sources, payload_ids, True]", imported),
        identity("nothing is beyond a source", "beyond_source=not clearance.permits(draft),", "beyond_source=False,", imported),
        identity("an update declassifies", "    if not by.may(Scope.DECLASSIFY):\n        _refuse_lowering(draft, stored.last_sent)", "    if False:\n        pass"),
        identity("an update is compared with what others made of it", "_refuse_lowering(draft, stored.last_sent)", "_refuse_lowering(draft, stored.current)"),
        identity("an update is merged over what others made of it", "stored.current if by.is_operator else stored.last_sent)", "stored.current)"),
        identity("an update ends a quarantine", 'stored.status if stored.status == "quarantined" else "active"', '"active"'),
        identity("an update lowers what others raised", "(set_by_source or is_lower_tier(tier, sent.classification_tier))", "True"),
        identity("an update takes away the labels of others", "union = {label_key(label): label for label in labels if label_key(label) not in taken_back}", "union: dict[str, str] = {}"),
        identity("an update moves back what others moved", ' and namespace == last_sent.namespace:', ":"),
        identity("an import changes what its source sent", "written=written, status=stored.status)", "last_sent=Classification.of(draft), status=stored.status)", imported),
        Mutant("write: rejected values of a source as others classified them", REJECTED_AGAIN, '_AS_SENT = ("sent_namespace", "sent_tier", "sent_labels")', "_AS_SENT = _AS_CLASSIFIED", (f"{sources}::test_whether_a_value_was_rejected_does_not_tell_that_the_memory_that_held_it_was_raised",)),
        identity("an import hides under the id of a source's memory", "    if not clearance.permits(draft):\n        refuse_hiding", "    if False:\n        refuse_hiding", imported),
        Mutant("write: an export hides under the id of a source's memory", "memoryhub/memories/restore.py", "    if _is_beyond_source(made, run):\n        refuse_hiding(made, current)\n    follows", "    follows", (imported,)),
        Mutant("write: rejected for what a source may not see", REJECTED_AGAIN, ", decided_beyond_source=False), _AS_SENT)", "), _AS_SENT)", (f"{sources}::test_what_was_raised_and_rejected_for_something_that_its_source_may_not_see_is_not_rejected_to_that",)),
        Mutant("write: rejected for what a source may not see, as it was classified", PLANS, "if is_beyond(member.source, _sent(member))", "if is_beyond(member.source, _shown(member))", (f"{sources}::test_what_was_raised_and_rejected_for_something_that_its_source_may_not_see_is_not_rejected_to_that",)),
        Mutant("write: rejected for its own that was raised", PLANS, "(*of_others, *sent[source])", "sources", (f"{sources}::test_whether_a_value_was_rejected_does_not_tell_that_the_memory_that_held_it_was_raised",)),
        Mutant("write: rejected values that a source could not see", REJECTED_AGAIN, "        if clearance.permits(rejected):", "        if True:", (f"{sources}::test_a_value_that_was_rejected_of_a_memory_that_the_key_may_not_read_is_not_rejected_again",)),
    ]  # fmt: skip
