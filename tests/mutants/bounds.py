"""What bounds a request, a file or a guesser, broken."""

from tests.mutants.mutant import Mutant

ADDRESS = "memoryhub/core/client_address.py"
LOCKOUT = "memoryhub/firewall/lockout.py"
JSON = "memoryhub/memories/strict_json.py"
MIDDLEWARE = "memoryhub/api/middleware.py"
LINES = "memoryhub/ops/line_files.py"
ADDRESSES = "tests/core/test_client_address.py"
GUESSING = "tests/firewall/test_signing_in.py::TestGuessing"
DOCUMENTS = "tests/memories/test_strict_json.py"
QUERIES = "tests/api/test_bounds.py"
BLANK = "tests/ops/test_line_files.py::test_so_do_blank_lines_that_are_not_packed"
BOMB = "tests/ops/test_line_files.py::test_a_file_that_unpacks_to_much_more_than_its_size_is_not_read_to_its_end"

MUTANTS = [
    Mutant(
        "bounds: X-Forwarded-For is believed whoever sends it",
        ADDRESS,
        "if not self._trusts(sender, hop) or (before := _parsed(text)) is None:",
        "if (before := _parsed(text)) is None:",
        (ADDRESSES,),
    ),
    Mutant(
        "bounds: the left of X-Forwarded-For is believed",
        ADDRESS,
        "enumerate(reversed(forwarded))",
        "enumerate(forwarded)",
        (ADDRESSES,),
    ),
    Mutant(
        "bounds: the delay does not grow",
        LOCKOUT,
        "FIRST_DELAY * 2 ** min(excess, 16)",
        "FIRST_DELAY",
        (GUESSING,),
    ),
    Mutant(
        "bounds: a cookie of another account is a known browser",
        LOCKOUT,
        'return f"known {browser}" if owner == username else None',
        'return f"known {browser}"',
        (GUESSING,),
    ),
    Mutant(
        "bounds: a known browser is never delayed",
        LOCKOUT,
        "return [of_browser] if browser else",
        "return [AccessAttempt.objects.none()] if browser else",
        (GUESSING,),
    ),
    Mutant(
        "bounds: failures elsewhere delay a known browser",
        LOCKOUT,
        "user_agent=browser or _UNKNOWN_BROWSER)\n        address",
        "user_agent=_UNKNOWN_BROWSER)\n        address",
        (GUESSING,),
    ),
    Mutant(
        "bounds: who signs in makes room for those who guess",
        LOCKOUT,
        "self.filter_user_attempts(request, credentials)[0].delete()",
        "AccessAttempt.objects.all().delete()",
        (GUESSING,),
    ),
    Mutant(
        "bounds: any JSON is decoded",
        JSON,
        "if _is_too_costly(body):",
        "if False:",
        (DOCUMENTS,),
    ),
    Mutant(
        "bounds: punctuation in texts counts",
        JSON,
        '.replace(b"\\\\\\\\", b"").replace(b\'\\\\"\', b"")',
        "",
        (DOCUMENTS,),
    ),
    Mutant("bounds: any length of a query", MIDDLEWARE, "if len(query) > MAX_QUERY_BYTES:", "if False:", (QUERIES,)),
    Mutant(
        "bounds: any number of parameters",
        MIDDLEWARE,
        'if query.count("&") >= MAX_QUERY_PARAMETERS:',
        "if False:",
        (QUERIES,),
    ),
    Mutant("bounds: any number of blank lines", LINES, "if blank > MAX_BLANK_LINES:", "if False:", (BLANK,)),
    Mutant(
        "bounds: a file unpacks without end",
        LINES,
        "if self._unpacked_bytes > MAX_LINE_BYTES + MAX_RATIO * self._packed.read_bytes:",
        "if False:",
        (BOMB,),
    ),
]
