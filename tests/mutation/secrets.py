"""The masked text, broken: a secret that is masked could be searched out."""

from tests.mutation.mutant import Mutant

MEMORY_QUERYSETS = "memoryhub/memories/querysets.py"
SEARCH_CONDITIONS = "memoryhub/memories/sql/search_conditions.py"
VERSIONS = "memoryhub/memories/writes/versions.py"
DECISION_QUERIES = "memoryhub/conflicts/decisions/decision_queries.py"
GROUPS = "memoryhub/conflicts/groups/groups.py"
SECRET_SEARCH = "memoryhub/memories/secret_search.py"
DETECTOR_TESTS = "tests/conflicts/detector/test_compare.py"
MASKED_TESTS = "tests/memories/test_masked_text.py"
SECRET_SEARCH_TESTS = "tests/memories/test_secret_search.py"


def secret_mutants() -> list[Mutant]:
    def brute_force_test(search: str) -> str:
        return f"tests/noninterference/test_secret_recovery.py::test_a_brute_force_of_every_next_letter_learns_none[{search}-analyst]"

    return [
        Mutant(
            "secrets: a dataclass in a response is not masked",
            "memoryhub/memories/records.py",
            "case _ if is_dataclass(value) and",
            "case _ if False and",
            ("tests/memories/test_records.py",),
        ),
        Mutant(
            "secrets: searched as written",
            SEARCH_CONDITIONS,
            'default=F("masked_content"))',
            'default=F("content"))',
            (MASKED_TESTS,),
        ),
        Mutant(
            "secrets: sampled as written",
            MEMORY_QUERYSETS,
            "searched_text=SEARCHED_TEXT",
            'searched_text=F("content")',
            (MASKED_TESTS,),
        ),
        Mutant(
            "secrets: stored without a masked text",
            VERSIONS,
            "draft.content_forms.masked_content",
            "None",
            (MASKED_TESTS,),
        ),
        Mutant(
            "secrets: disguised ones are shown",
            "memoryhub/core/secrets.py",
            "for translation in DISGUISE_TRANSLATIONS:",
            "for translation in ():",
            ("tests/core/test_secrets.py::test_a_disguised_secret_is_masked_and_what_stands_around_it_stays",),
        ),
        Mutant(
            "secrets: a part of a subject is found",
            GROUPS,
            ' & ~Q(HoldsSecret(F("subject")))',
            "",
            (brute_force_test("/api/conflicts?status=all&subject_contains={}"),),
        ),
        Mutant(
            "secrets: a part of a reason is found",
            DECISION_QUERIES,
            '~Q(HoldsSecret(F("reason")))',
            "Q()",
            (brute_force_test("/api/decisions?q={}"),),
        ),
        Mutant(
            "secrets: a part of a name is found",
            "inspector/views/view_as.py",
            "    if search_terms:\n",
            "    if False:\n",
            (
                "tests/noninterference/test_secret_recovery.py::test_no_parameter_of_any_route_reveals_a_piece_of_a_secret"
                "[steward]",
            ),
        ),
        Mutant(
            "secrets: the detector compares what was written",
            "memoryhub/conflicts/detector/compare.py",
            "masked_texts = mask_secrets(a.content), mask_secrets(b.content)",
            "masked_texts = a.content, b.content",
            (f"{DETECTOR_TESTS}::test_the_similarity_of_two_texts_reveals_nothing_of_a_secret",),
        ),
        Mutant(
            "secrets: embeddings of them are compared",
            "memoryhub/conflicts/detector/compare.py",
            " or holds_secret(a.content) or holds_secret(b.content)",
            "",
            (f"{DETECTOR_TESTS}::test_the_similarity_of_two_texts_reveals_nothing_of_a_secret",),
        ),
        Mutant(
            "secrets: ids spell them out",
            "memoryhub/conflicts/groups/group_keys.py",
            "plaintext if all(mask_secrets(part) == part for part in key) else",
            "plaintext if True else",
            ("tests/conflicts/groups/test_groups.py::test_an_id_does_not_spell_out_a_key_that_pages_mask",),
        ),
        Mutant(
            "secrets: found by anybody",
            SECRET_SEARCH,
            "principal.require_scopes(Scope.CURATE)",
            "pass",
            (SECRET_SEARCH_TESTS,),
        ),
        Mutant("secrets: found in all memories", SECRET_SEARCH, ".filter(HOLDS_SECRET)", "", (SECRET_SEARCH_TESTS,)),
        Mutant(
            "secrets: found without a trace",
            SECRET_SEARCH,
            "memory_ids=matches.memory_ids",
            "memory_ids=[]",
            (SECRET_SEARCH_TESTS,),
        ),
        Mutant(
            "secrets: the text is in the audit log",
            SECRET_SEARCH,
            "route=route,",
            "route=route, query=text,",
            (SECRET_SEARCH_TESTS,),
        ),
        Mutant(
            "secrets: no end of reading",
            SECRET_SEARCH,
            "scanned_rows[:MAX_SCANNED]",
            "scanned_rows",
            (SECRET_SEARCH_TESTS,),
        ),
    ]
