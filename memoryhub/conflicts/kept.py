"""Classes of groups that were computed before: a cache, and nothing else. Without it the answer is the same."""

from collections.abc import Mapping
from contextlib import suppress

from django.db import DatabaseError, transaction

from memoryhub.conflicts import method
from memoryhub.conflicts.detector import GroupVerdict
from memoryhub.conflicts.models import GroupClass


def keep(classes: Mapping[bytes, GroupVerdict]) -> None:
    """Keep the classes of groups under the hash of what they were computed from, if the database takes them.

    Those for which the language model was needed and did not answer are computed again when they are asked for.
    """
    version = method.current().version
    rows = [
        GroupClass(evidence=evidence, klass=classes[evidence].klass, version=version)
        # In one order, so that two who keep the same wait for each other and not in a circle.
        for evidence in sorted(classes)
        if classes[evidence].version == version
    ]
    with suppress(DatabaseError), transaction.atomic():
        GroupClass.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["evidence"], update_fields=["klass", "version"]
        )
