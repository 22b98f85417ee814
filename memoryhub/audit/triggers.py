"""What PostgreSQL itself holds about the ledger, whoever writes to it."""

import pgtrigger

APPEND_ONLY = pgtrigger.Trigger(
    name="append_only",
    when=pgtrigger.Before,
    operation=pgtrigger.Update | pgtrigger.Delete | pgtrigger.Truncate,
    level=pgtrigger.Statement,
    func="""
        RAISE EXCEPTION 'the ledger is append-only: an entry is never changed or deleted'
            USING ERRCODE = 'integrity_constraint_violation';
    """,
)
