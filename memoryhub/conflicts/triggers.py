"""Triggers on decisions, which PostgreSQL enforces for every writer."""

import pgtrigger

STAMP_RECORD_TIME = pgtrigger.Trigger(
    name="stamp_record_time",
    when=pgtrigger.Before,
    operation=pgtrigger.Insert,
    func="""
        NEW.recorded_at := record_time_current();
        NEW.decided_at := least(coalesce(NEW.decided_at, NEW.recorded_at), NEW.recorded_at);
        RETURN NEW;
    """,
)
"""Gives a decision the record time of the versions that it makes. An imported decision keeps its earlier
`decided_at`."""

_REFUSE_CHANGE = """
    RAISE EXCEPTION 'decisions are append-only: one is undone by the next, never changed or deleted'
        USING ERRCODE = 'integrity_constraint_violation';
"""
FORBID_CHANGE = pgtrigger.Trigger(
    name="forbid_change",
    when=pgtrigger.Before,
    operation=pgtrigger.Update | pgtrigger.Delete,
    level=pgtrigger.Statement,
    func=_REFUSE_CHANGE,
)
# A separate trigger, because a distributed PostgreSQL does not create a trigger on its shards for TRUNCATE together
# with another operation.
FORBID_TRUNCATE = pgtrigger.Trigger(
    name="forbid_truncate",
    when=pgtrigger.Before,
    operation=pgtrigger.Truncate,
    level=pgtrigger.Statement,
    func=_REFUSE_CHANGE,
)
