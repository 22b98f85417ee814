"""Cache of group classes.

Guarantee: the cache changes no answer, so a reader does not learn from it which groups others have read, or that there
are hidden members.

Why the obvious way breaks it. A class that is cached under the key of a group was computed from the members that one
reader saw, and would be shown to readers who see others. And a page that ends when it has computed enough classes would
end later if another reader had filled the cache. So:

- A class is cached under the hash of the members from which it was computed. A reader must see all of them to ask for
  it.
- Limits count the pairs of values in a group, whether or not its class is cached (`GroupQuery.with_classes`).
- A failure to store a class is ignored: the class is computed again.

Tests that notice: `tests/conflicts/groups/test_class_counts.py`.
"""

from collections.abc import Mapping
from contextlib import suppress

from django.db import DatabaseError, transaction

from memoryhub.conflicts.comparison_model import current_comparison_model
from memoryhub.conflicts.detector.compare import GroupVerdict
from memoryhub.conflicts.models import GroupClassCache


def store_classes(verdicts: Mapping[bytes, GroupVerdict]) -> None:
    """Cache the classes of groups under the hash of their members. Database errors are ignored.

    A class for which the language model was needed and gave no answer is not stored, so that it is computed again.
    """
    version = current_comparison_model().version
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
