"""What test_reads asks with: the rows, the endpoints, and the state machine that takes steps in both worlds."""

import pytest

# The state machine asserts what a test would; pytest rewrites its assertions, so that a failure shows the values.
pytest.register_assert_rewrite(f"{__name__}.state_machine")
