"""A world made once for many tests: the tests of a module or a class read it, and none sees what another wrote."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, transaction


@contextmanager
def shared_world(request: pytest.FixtureRequest) -> Iterator[None]:
    """For a fixture of scope "module" or "class": what is stored in the block stays until the fixture ends.

        @pytest.fixture(scope="module")
        def world(request):
            with shared_world(request):
                make_memory(subject="user:ada")
                yield make_key()

    The block is a transaction that is rolled back, and each test with `django_db` a savepoint in it. So no test of the
    module may be transactional, close the connection, or ask from another one, and those that do not name the fixture
    find its rows all the same, if they run after one that does. The world makes no requests: it is older than the
    fixtures of a test, such as the one that keeps the log of reads.
    """
    request.getfixturevalue("django_db_setup")
    blocker = request.getfixturevalue("django_db_blocker")
    with blocker.unblock():
        is_in_test = any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
        assert not is_in_test, "the test that asks for this world has begun: name the fixture in its parameters"
        with transaction.atomic():
            yield
            transaction.set_rollback(True)
