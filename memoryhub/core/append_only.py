"""The triggers that make a table append-only, whatever code writes to it."""

from typing import Any

import pgtrigger


def forbid_statements(name: str, operation: Any, message: str) -> pgtrigger.Trigger:
    """Return a trigger that refuses the operation, with an integrity error that has this message.

    TRUNCATE needs a trigger of its own: a distributed PostgreSQL creates no trigger on its shards that combines it with
    another operation.
    """
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.Before,
        operation=operation,
        level=pgtrigger.Statement,
        func=f"\n    RAISE EXCEPTION '{message}'\n        USING ERRCODE = 'integrity_constraint_violation';\n",
    )
