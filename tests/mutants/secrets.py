"""The masked text, broken: a secret that is masked could be searched out."""

from tests.mutants.mutant import Mutant

ROWS = "memoryhub/memories/querysets.py"
INGEST = "memoryhub/memories/ingest.py"
TOLD_DECISIONS = "memoryhub/conflicts/decisions.py"
GROUPS = "memoryhub/conflicts/groups.py"
SECRET_SEARCH = "memoryhub/memories/secret_search.py"
MASKING = "memoryhub/memories/migrations/0011_masked_text.py"
DETECTOR = "tests/conflicts/test_detector.py"
MASKED = "tests/memories/test_masked_text.py"
SEARCHING = "tests/memories/test_secret_search.py"


def secret_mutants() -> list[Mutant]:
    def brute_force(search: str) -> str:
        return f"tests/harness/test_secret_recovery.py::test_a_brute_force_of_every_next_letter_learns_none[{search}-analyst]"

    return [
        Mutant(
            "secrets: searched as written", ROWS, 'default=F("masked_content"))', 'default=F("content"))', (MASKED,)
        ),
        Mutant(
            "secrets: sampled as written", ROWS, "searched_text=SEARCHED_TEXT", 'searched_text=F("content")', (MASKED,)
        ),
        Mutant("secrets: stored without a masked text", INGEST, "masked_or_none(envelope.content)", "None", (MASKED,)),
        Mutant(
            "secrets: old rows stay as they are",
            MASKING,
            "RunPython(fill,",
            "RunPython(migrations.RunPython.noop,",
            (MASKED,),
        ),
        Mutant(
            "secrets: disguised ones are shown",
            "memoryhub/memories/suspicion.py",
            "for disguise in DISGUISES:",
            "for disguise in ():",
            ("tests/memories/test_suspicion.py::test_a_disguised_secret_is_masked_and_what_stands_around_it_stays",),
        ),
        Mutant(
            "secrets: a part of a subject is found",
            GROUPS,
            ' & ~Q(HoldsSecret(F("subject")))',
            "",
            (brute_force("/api/conflicts?status=all&subject_contains={}"),),
        ),
        Mutant(
            "secrets: a part of a reason is found",
            TOLD_DECISIONS,
            '~Q(HoldsSecret(F("reason")))',
            "Q()",
            (brute_force("/api/decisions?q={}"),),
        ),
        Mutant(
            "secrets: a part of a name is found",
            "inspector/views/view_as.py",
            "    if sought:\n",
            "    if False:\n",
            (
                "tests/harness/test_secret_recovery.py::test_no_parameter_of_any_route_tells_a_piece_of_a_secret"
                "[steward]",
            ),
        ),
        Mutant(
            "secrets: the detector compares what was written",
            "memoryhub/conflicts/detector.py",
            "shown = masked(a.content), masked(b.content)",
            "shown = a.content, b.content",
            (f"{DETECTOR}::test_how_alike_two_texts_are_tells_nothing_of_a_secret",),
        ),
        Mutant(
            "secrets: embeddings of them are compared",
            "memoryhub/conflicts/detector.py",
            " or holds_secret(a.content) or holds_secret(b.content)",
            "",
            (f"{DETECTOR}::test_how_alike_two_texts_are_tells_nothing_of_a_secret",),
        ),
        Mutant(
            "secrets: ids spell them out",
            "memoryhub/conflicts/keys.py",
            "plain if all(masked(part) == part for part in key) else",
            "plain if True else",
            ("tests/conflicts/test_groups.py::test_an_id_does_not_spell_out_a_key_that_pages_mask",),
        ),
        Mutant("secrets: found by anybody", SECRET_SEARCH, "by.require(Scope.INSPECT)", "pass", (SEARCHING,)),
        Mutant("secrets: found in all memories", SECRET_SEARCH, ".filter(HOLDS_SECRET)", "", (SEARCHING,)),
        Mutant(
            "secrets: found without a trace",
            SECRET_SEARCH,
            "memory_ids=found.memory_ids",
            "memory_ids=[]",
            (SEARCHING,),
        ),
        Mutant(
            "secrets: the text is in the ledger",
            SECRET_SEARCH,
            "route=route,",
            "route=route, query=text,",
            (SEARCHING,),
        ),
        Mutant("secrets: no end of reading", SECRET_SEARCH, "read[:MAX_READ]", "read", (SEARCHING,)),
    ]
