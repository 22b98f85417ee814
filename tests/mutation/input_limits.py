"""What bounds a request, a file or a guesser, broken."""

from tests.mutation.mutant import Mutant

ADDRESS = "memoryhub/core/client_address.py"
LOCKOUT = "memoryhub/firewall/lockout.py"
JSON = "memoryhub/core/strict_json.py"
MIDDLEWARE = "memoryhub/middleware.py"
LINE_FILES = "memoryhub/transfer/line_files.py"
ADDRESS_TESTS = "tests/core/test_client_address.py"
GUESSING_TESTS = "tests/firewall/test_sign_in.py::TestGuessing"
JSON_TESTS = "tests/core/test_strict_json.py"
BOUNDS_TESTS = "tests/api/test_query_limits.py"
BLANK_LINES_TEST = "tests/transfer/test_line_files.py::test_so_do_blank_lines_that_are_not_packed"
ARCHIVE_BOMB_TEST = (
    "tests/transfer/test_line_files.py::test_a_file_that_unpacks_to_much_more_than_its_size_is_not_read_to_its_end"
)

MUTANTS = [
    Mutant(
        "bounds: X-Forwarded-For is believed from every sender",
        ADDRESS,
        "if not self._trusts(sender, hop) or (previous_hop := _parse_address(text)) is None:",
        "if (previous_hop := _parse_address(text)) is None:",
        (ADDRESS_TESTS,),
    ),
    Mutant(
        "bounds: the left of X-Forwarded-For is believed",
        ADDRESS,
        "enumerate(reversed(forwarded))",
        "enumerate(forwarded)",
        (ADDRESS_TESTS,),
    ),
    Mutant(
        "bounds: the delay does not grow",
        LOCKOUT,
        "FIRST_DELAY * 2 ** min(excess_failures, 16)",
        "FIRST_DELAY",
        (GUESSING_TESTS,),
    ),
    Mutant(
        "bounds: a cookie of another account is a known browser",
        LOCKOUT,
        'return f"known {browser}" if owner == username else None',
        'return f"known {browser}"',
        (GUESSING_TESTS,),
    ),
    Mutant(
        "bounds: a known browser is never delayed",
        LOCKOUT,
        "return [browser_attempts] if browser else",
        "return [AccessAttempt.objects.none()] if browser else",
        (GUESSING_TESTS,),
    ),
    Mutant(
        "bounds: failures elsewhere delay a known browser",
        LOCKOUT,
        "user_agent=browser or _UNKNOWN_BROWSER)\n        address",
        "user_agent=_UNKNOWN_BROWSER)\n        address",
        (GUESSING_TESTS,),
    ),
    Mutant(
        "bounds: who signs in makes room for those who guess",
        LOCKOUT,
        "self.filter_user_attempts(request, credentials)[0].delete()",
        "AccessAttempt.objects.all().delete()",
        (GUESSING_TESTS,),
    ),
    Mutant(
        "bounds: any JSON is decoded",
        JSON,
        "if _is_too_costly(body):",
        "if False:",
        (JSON_TESTS,),
    ),
    Mutant(
        "bounds: punctuation in texts counts",
        JSON,
        '.replace(b"\\\\\\\\", b"").replace(b\'\\\\"\', b"")',
        "",
        (JSON_TESTS,),
    ),
    Mutant(
        "bounds: any length of a query", MIDDLEWARE, "if len(query) > MAX_QUERY_BYTES:", "if False:", (BOUNDS_TESTS,)
    ),
    Mutant(
        "bounds: any number of parameters",
        MIDDLEWARE,
        'if query.count("&") >= MAX_QUERY_PARAMS:',
        "if False:",
        (BOUNDS_TESTS,),
    ),
    Mutant(
        "bounds: any number of blank lines",
        LINE_FILES,
        "if blank_line_count > MAX_BLANK_LINES:",
        "if False:",
        (BLANK_LINES_TEST,),
    ),
    Mutant(
        "bounds: a file unpacks without end",
        LINE_FILES,
        "if self._uncompressed_byte_count > MAX_LINE_BYTES + MAX_COMPRESSION_RATIO * self._compressed_stream.read_bytes:",
        "if False:",
        (ARCHIVE_BOMB_TEST,),
    ),
]
