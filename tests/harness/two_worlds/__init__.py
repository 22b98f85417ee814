"""What test_two_worlds asks with: the rows, the doors, and the machine that takes steps in both worlds."""

import pytest

# The machine asserts what a test would, and shall tell as much when it fails.
pytest.register_assert_rewrite(f"{__name__}.machine")
