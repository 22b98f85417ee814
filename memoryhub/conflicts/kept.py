"""Classes of groups that were computed before: a cache, and nothing else. Without it the answer is the same."""

from collections.abc import Mapping
from contextlib import suppress

from django.db import DatabaseError, transaction

from memoryhub.conflicts.detector import Class
from memoryhub.conflicts.models import GroupClass
from memoryhub.conflicts.weights import WEIGHTS


def keep(classes: Mapping[bytes, Class]) -> None:
    """Keep the classes of groups under the hash of what they were computed from, if the database takes them."""
    rows = [
        GroupClass(evidence=evidence, klass=klass, version=WEIGHTS.version)
        # In one order, so that two who keep the same wait for each other and not in a circle.
        for evidence, klass in sorted(classes.items())
    ]
    with suppress(DatabaseError), transaction.atomic():
        GroupClass.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["evidence"], update_fields=["klass", "version"]
        )
