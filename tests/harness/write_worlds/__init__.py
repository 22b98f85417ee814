"""What test_write_worlds writes with: the writers, the steps of a story, and the comparison of both worlds."""

import pytest

# The comparison asserts what a test would, and shall show as much when it fails.
pytest.register_assert_rewrite(f"{__name__}.compare", f"{__name__}.checks")
