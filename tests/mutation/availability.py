"""Mutants of what keeps one client from stopping the hub for others."""

from collections.abc import Callable

from tests.mutation.mutant import Mutant

TURNS = "memoryhub/front/turns.py"
BODIES = "memoryhub/front/bodies.py"
CALLERS = "memoryhub/front/callers.py"
FRONT = "memoryhub/front/application.py"
WRITE = "memoryhub/memories/writes/write.py"
LIMIT = "memoryhub/core/time_limit.py"
COOKIE_TESTS = "tests/front/test_cookies.py"
HARNESS = "tests/harness/test_availability.py"
TRANSACTION_TESTS = "tests/memories/test_write_transactions.py"
CLOCK_ORDER_TEST = "test_every_text_is_masked_and_canonicalized_once_and_before_the_record_clock_is_taken"


def _mutant_factory(file: str, tests: str) -> Callable[[str, str, str, str], Mutant]:
    """Makes mutants of one file, each with the test of one module that must notice it."""
    return lambda name, old, new, test: Mutant(f"available: {name}", file, old, new, (f"{tests}::{test}",))


_turns_mutant = _mutant_factory(TURNS, "tests/front/test_turns.py")
_bodies_mutant = _mutant_factory(BODIES, "tests/front/test_bodies.py")
_callers_mutant = _mutant_factory(CALLERS, "tests/front/test_callers.py")
_write_mutant = _mutant_factory(WRITE, TRANSACTION_TESTS)
_limit_mutant = _mutant_factory(LIMIT, "tests/core/test_time_limit.py")

MUTANTS = [
    _turns_mutant("a caller has all threads", "if self._used_by_group[caller.group] >= self.max_per_group:", "if False:", "test_a_caller_has_its_share_and_the_others_the_rest"),
    _turns_mutant("a stranger is a group of its own", "self._used_by_group[caller.group] += 1", "self._used_by_group[caller] += 1", "test_a_group_shares_and_its_callers_take_turns"),
    _turns_mutant("any number may wait", "if len(queue) >= self.max_waiting:", "if False:", "test_more_than_may_wait_are_refused_at_once"),
    _turns_mutant("who left is given a thread", "for slot_future in _drain_queue(queue) if not slot_future.done()", "for slot_future in _drain_queue(queue)", "test_who_leaves_while_waiting_leaves_nothing_behind"),
    _turns_mutant("a thread is never given back", "self._used_by_group[caller.group] -= 1", "pass", "test_a_request_that_waits_too_long_is_refused_with_the_cause"),
    _bodies_mutant("a body may take for ever", "asyncio.timeout(started_at + compute_timeout_seconds(received_bytes) - time.monotonic())", "asyncio.timeout(None)", "test_a_body_that_takes_longer_than_its_length_allows_is_given_up"),
    _bodies_mutant("each byte has the whole time", "asyncio.timeout(started_at + compute_timeout_seconds(received_bytes) - time.monotonic())", "asyncio.timeout(compute_timeout_seconds(received_bytes))", "test_a_body_that_takes_longer_than_its_length_allows_is_given_up"),
    _bodies_mutant("what was cut off is whole", "received_bytes < (length or 0)", "False", "test_a_body_that_ends_early_is_refused"),
    _bodies_mutant("any length is read", "while dropped_bytes < MAX_DISCARDED_BYTES:", "while True:", "test_a_refused_body_is_read_no_further_than_a_bound"),
    _bodies_mutant("too much is refused unread", "while dropped_bytes < MAX_DISCARDED_BYTES:", "while False:", "test_a_body_beyond_its_limit_is_read_to_its_end_and_refused"),
    _bodies_mutant("a refused body is waited for", "asyncio.timeout(GRACE_SECONDS)", "asyncio.timeout(None)", "test_a_refused_body_is_not_waited_for_longer_than_a_bound"),
    _callers_mutant("a made-up key is a caller", "        if credential and credential in self._names_by_credential:\n            self._names_by_credential.move_to_end(credential)\n            name = self._names_by_credential[credential]", "        if credential:\n            name = credential.hex()", "test_a_client_that_makes_up_credentials_shares_with_all_strangers"),
    _callers_mutant("a refused key stays known", "self._names_by_credential.pop(_credential_digest(environ), None)", "pass", "test_a_credential_that_is_refused_by_now_is_forgotten"),
    Mutant("available: any key is good", "memoryhub/middleware.py", "        if name := _get_credential_owner(request):", "        if name := _get_credential_owner(request) or 'anybody':", ("tests/api/test_authentication.py::test_a_credential_is_verified_without_asking_for_anything",)),
    _write_mutant("a batch is one transaction", "if position and total_bytes > MAX_TRANSACTION_BYTES:", "if False:", "TestALongBatch::test_is_stored_in_several_transactions_with_an_audit_entry_each"),
    _write_mutant("what an update writes again is free", "drafts = _take_leading_drafts(drafts, stored_bytes)", "pass", "TestALongBatch::test_counts_what_an_update_writes_again"),
    Mutant("available: documents are free", "memoryhub/memories/writes/envelope.py", "return len(envelope.content.encode()) + len(documents)", "return len(envelope.content.encode())", (f"{TRANSACTION_TESTS}::TestALongBatch::test_counts_documents_and_labels",)),
    Mutant("available: texts are masked while writers wait", "memoryhub/memories/writes/versions.py", '"masked_content": draft.content_forms.masked_content,', '"masked_content": __import__("memoryhub.core.values").core.values.compute_content_forms(envelope.content).masked_content,', (f"{TRANSACTION_TESTS}::{CLOCK_ORDER_TEST}",)),
    Mutant("available: texts are canonicalized while writers wait", "memoryhub/memories/writes/merge.py", 'content_forms=(sent_draft if "content" in replaced_fields else current_envelope).content_forms,', 'content_forms=__import__("memoryhub.core.values").core.values.compute_content_forms(values["content"]),', (f"{TRANSACTION_TESTS}::{CLOCK_ORDER_TEST}",)),
    Mutant("available: an idle transaction is an internal error", "memoryhub/core/errors.py", '"25P03": _TIMEOUT,', "", ("tests/api/test_problems.py::test_each_state_of_the_database_has_its_answer",)),
    _limit_mutant("each statement has the whole time", "spent_seconds = time.monotonic() - self.started_at", "spent_seconds = 0.0", "test_many_statements_have_the_time_of_one"),
    _limit_mutant("the last statement has the whole time", "self._shorten_timeout(remaining_seconds)", "pass", "test_a_statement_has_what_is_left"),
    _limit_mutant("the session stays shortened", "db_connection.execute(\"RESET statement_timeout\")", "pass", "test_many_statements_have_the_time_of_one"),
    Mutant("available: requests have no limit", "memoryhub/middleware.py", "with limit_statement_time(settings.APP_CONFIG.statement_timeout_seconds):", "if True:", ("tests/core/test_time_limit.py::test_every_request_is_limited",)),
    Mutant("available: health waits for a thread", FRONT, 'if scope.path == "/health":', "if False:", (f"{HARNESS}::test_health_is_answered_while_twelve_reads_wait_for_a_lock",)),
    Mutant("available: a body is read in a thread", FRONT, "return await bodies.read_body(protocol, length=length, max_bytes=limit)\n            async with", "async with self._thread_slots.hold_slot(caller):\n                    return await bodies.read_body(protocol, length=length, max_bytes=limit)\n            async with", (f"{HARNESS}::test_uploads_that_crawl_and_questions_of_one_key_that_take_long_hold_nobody_up",)),
    Mutant("available: any cookie is decoded", "memoryhub/front/gateway.py", 'environ["HTTP_COOKIE"] = format_cookies(parse_own_cookies(environ["HTTP_COOKIE"]))', "pass", ("tests/front/test_gateway.py",)),
    Mutant("available: quoted cookies are decoded", "memoryhub/front/cookies.py", """ and not {'"', "\\\\"} & set(value)""", "", (COOKIE_TESTS,)),
    Mutant("available: each spelling of a key has a share", "memoryhub/front/callers.py", "name = self._names_by_credential[credential]", "name = credential.hex()", ("tests/front/test_callers.py",)),
    Mutant("available: a refused form is not read", FRONT, "                await _drop_body(environ, protocol)\n                raise bodies.TooLargeError", "                raise bodies.TooLargeError", (f"{HARNESS}::test_a_client_that_sends_before_it_reads_gets_the_reason_of_its_refusal",)),
    Mutant("available: numbers of any length", "memoryhub/core/strict_json.py", "if self.cost > _MAX_INTEGER_COST:", "if False:", ("tests/core/test_strict_json.py",)),
    Mutant("available: one key has all threads", FRONT, "max_per_group=max(1, threads // 2)", "max_per_group=threads", (f"{HARNESS}::test_uploads_that_crawl_and_questions_of_one_key_that_take_long_hold_nobody_up",)),
]  # fmt: skip
