"""Triggers with which PostgreSQL keeps the audit log append-only, whatever code writes to it."""

import pgtrigger

_REFUSE_CHANGE = """
    RAISE EXCEPTION 'the audit log is append-only: an entry is never changed or deleted'
        USING ERRCODE = 'integrity_constraint_violation';
"""
FORBID_CHANGE = pgtrigger.Trigger(
    name="forbid_change",
    when=pgtrigger.Before,
    operation=pgtrigger.Update | pgtrigger.Delete,
    level=pgtrigger.Statement,
    func=_REFUSE_CHANGE,
)
# A separate trigger: a distributed engine creates no trigger on its shards that combines TRUNCATE with another
# operation.
FORBID_TRUNCATE = pgtrigger.Trigger(
    name="forbid_truncate",
    when=pgtrigger.Before,
    operation=pgtrigger.Truncate,
    level=pgtrigger.Statement,
    func=_REFUSE_CHANGE,
)
