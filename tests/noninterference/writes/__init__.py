"""What the tests of writes write with: the writers, the steps of a story, and the comparison of both worlds."""

import pytest

# These assert what a test would; pytest rewrites their assertions, so that a failure shows the values.
pytest.register_assert_rewrite(f"{__name__}.story_run", f"{__name__}.invariants")
