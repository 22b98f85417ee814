"""What PostgreSQL itself holds about decisions, whoever writes them."""

import pgtrigger

STAMP = pgtrigger.Trigger(
    name="stamp",
    when=pgtrigger.Before,
    operation=pgtrigger.Insert,
    func="""
        NEW.recorded_at := record_instant();
        NEW.at := least(coalesce(NEW.at, NEW.recorded_at), NEW.recorded_at);
        RETURN NEW;
    """,
)
"""A decision has the record instant of the versions that it made; one that is imported keeps the time of its making."""

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
