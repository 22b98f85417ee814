"""Triggers with which PostgreSQL keeps the audit log append-only, whatever code writes to it."""

import pgtrigger

from memoryhub.core.append_only import forbid_statements

_MESSAGE = "the audit log is append-only: an entry is never changed or deleted"
FORBID_CHANGE = forbid_statements("forbid_change", pgtrigger.Update | pgtrigger.Delete, _MESSAGE)
FORBID_TRUNCATE = forbid_statements("forbid_truncate", pgtrigger.Truncate, _MESSAGE)
