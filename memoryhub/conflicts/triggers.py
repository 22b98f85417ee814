"""Triggers on decisions, which PostgreSQL enforces for every writer."""

import pgtrigger

from memoryhub.core.append_only import forbid_statements

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

_MESSAGE = "decisions are append-only: one is undone by the next, never changed or deleted"
FORBID_CHANGE = forbid_statements("forbid_change", pgtrigger.Update | pgtrigger.Delete, _MESSAGE)
FORBID_TRUNCATE = forbid_statements("forbid_truncate", pgtrigger.Truncate, _MESSAGE)
