"""What PostgreSQL itself holds about decisions, whoever writes them."""

import pgtrigger

STAMP = pgtrigger.Trigger(
    name="stamp",
    when=pgtrigger.Before,
    operation=pgtrigger.Insert,
    func="NEW.at := record_instant(); RETURN NEW;",
)
"""A decision has the record instant of the versions that it made."""

APPEND_ONLY = pgtrigger.Trigger(
    name="append_only",
    when=pgtrigger.Before,
    operation=pgtrigger.Update | pgtrigger.Delete | pgtrigger.Truncate,
    level=pgtrigger.Statement,
    func="""
        RAISE EXCEPTION 'decisions are append-only: one is undone by the next, never changed or deleted'
            USING ERRCODE = 'integrity_constraint_violation';
    """,
)
