"""Cache of group classes. An empty cache changes no answer."""

from collections.abc import Mapping
from contextlib import suppress

from django.db import DatabaseError, transaction

from memoryhub.conflicts import comparison
from memoryhub.conflicts.detector.compare import GroupVerdict
from memoryhub.conflicts.models import GroupClassCache


def store_classes(verdicts: Mapping[bytes, GroupVerdict]) -> None:
    """Cache the classes of groups under the hash of their members. Database errors are ignored.

    A class for which the language model was needed and gave no answer is not stored, so that it is computed again.
    """
    version = comparison.current_model().version
    rows = [
        GroupClassCache(
            members_hash=members_hash, conflict_class=verdicts[members_hash].conflict_class, model_version=version
        )
        # Sorted, so that two transactions that store the same rows cannot deadlock.
        for members_hash in sorted(verdicts)
        if verdicts[members_hash].version == version
    ]
    with suppress(DatabaseError), transaction.atomic():
        GroupClassCache.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["members_hash"],
            update_fields=["conflict_class", "model_version"],
        )
