"""Mutants of what keeps one client from stopping the hub for others."""

from collections.abc import Callable

from tests.mutants.mutant import Mutant

TURNS = "memoryhub/front/turns.py"
BODIES = "memoryhub/front/bodies.py"
CALLERS = "memoryhub/front/callers.py"
FRONT = "memoryhub/front/application.py"
LIMIT = "memoryhub/core/time_limit.py"
HARNESS = "tests/harness/test_availability.py"


def _mutants_of(file: str, tests: str) -> Callable[[str, str, str, str], Mutant]:
    """Makes mutants of one file, each with the test of one module that must notice it."""
    return lambda name, old, new, test: Mutant(f"available: {name}", file, old, new, (f"{tests}::{test}",))


_turns = _mutants_of(TURNS, "tests/front/test_turns.py")
_bodies = _mutants_of(BODIES, "tests/front/test_bodies.py")
_callers = _mutants_of(CALLERS, "tests/front/test_callers.py")
_limit = _mutants_of(LIMIT, "tests/core/test_time_limit.py")

MUTANTS = [
    _turns("a caller has all threads", "if self._used[caller.group] >= self.share:", "if False:", "test_a_caller_has_its_share_and_the_others_the_rest"),
    _turns("a stranger is a group of its own", "self._used[caller.group] += 1", "self._used[caller] += 1", "test_a_group_shares_and_its_callers_take_turns"),
    _turns("any number may wait", "if len(queue) >= self.most_waiting:", "if False:", "test_more_than_may_wait_are_refused_at_once"),
    _turns("who left is given a thread", "for turn in _taken_out(queue) if not turn.done()", "for turn in _taken_out(queue)", "test_who_leaves_while_waiting_leaves_nothing_behind"),
    _turns("a thread is never given back", "self._used[caller.group] -= 1", "pass", "test_who_waits_too_long_is_refused_and_is_told_whose_doing_it_is"),
    _bodies("a body may take for ever", "asyncio.timeout(started + seconds_for(received) - time.monotonic())", "asyncio.timeout(None)", "test_a_body_that_takes_longer_than_its_length_allows_is_given_up"),
    _bodies("each byte has the whole time", "asyncio.timeout(started + seconds_for(received) - time.monotonic())", "asyncio.timeout(seconds_for(received))", "test_a_body_that_takes_longer_than_its_length_allows_is_given_up"),
    _bodies("what was cut off is whole", "received < (length or 0)", "False", "test_a_body_that_ends_early_is_refused"),
    _bodies("any length is read", "while received <= 4 * limit:", "while True:", "test_no_more_than_four_times_the_limit_is_read"),
    _bodies("too much is refused unread", "while received <= 4 * limit:", "while received <= limit:", "test_a_body_beyond_its_limit_is_read_to_its_end_and_refused"),
    _callers("a made-up key is a caller", "if credential and credential in self._known:", "if credential:", "test_a_client_that_makes_up_credentials_shares_with_all_strangers"),
    _callers("a refused key stays known", "self._known.pop(_credential(environ), None)", "pass", "test_a_credential_that_is_refused_by_now_is_forgotten"),
    Mutant("available: any key is good", "memoryhub/api/middleware.py", "        if _has_good_credential(request):", "        if True:", ("tests/api/test_authentication.py::test_a_credential_is_verified_without_asking_for_anything",)),
    _limit("each statement has the whole time", "self.spent += time.monotonic() - started", "pass", "test_many_statements_have_the_time_of_one"),
    _limit("the last statement has the whole time", "self._shorten(left)", "pass", "test_a_statement_has_what_is_left"),
    _limit("the session stays shortened", 'session.execute("RESET statement_timeout")', "pass", "test_many_statements_have_the_time_of_one"),
    Mutant("available: requests have no limit", "memoryhub/api/middleware.py", "with limited(settings.MEMORYHUB.statement_timeout_seconds):", "if True:", ("tests/core/test_time_limit.py::test_every_request_is_limited",)),
    Mutant("available: health waits for a thread", FRONT, 'if scope.path == "/health":', "if False:", (f"{HARNESS}::test_health_is_answered_while_twelve_reads_wait_for_a_lock",)),
    Mutant("available: a body is read in a thread", FRONT, "return await bodies.read(protocol, length=length, limit=limit)\n            async with", "async with self._threads.taken(caller):\n                    return await bodies.read(protocol, length=length, limit=limit)\n            async with", (f"{HARNESS}::test_two_hundred_uploads_that_crawl_hold_nobody_up",)),
    Mutant("available: one key has all threads", FRONT, "share=max(1, threads // 2)", "share=threads", (f"{HARNESS}::test_sixteen_questions_of_one_key_that_take_long_leave_threads_to_others",)),
]  # fmt: skip
