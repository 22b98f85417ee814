"""The actions that the audit log records."""

from django.db.models import TextChoices


class AuditAction(TextChoices):
    """What an audit entry records, as noun.verb. The label follows the name of the principal on the audit log page."""

    MEMORY_READ = "memory.read", "read"
    MEMORY_UNMASK = "memory.unmask", "looked at the secrets of"
    MEMORY_EXPORT = "memory.export", "exported"
    MEMORY_WRITE = "memory.write", "wrote"
    MEMORY_RECLASSIFY = "memory.reclassify", "classified"
    MEMORY_QUARANTINE = "memory.quarantine", "quarantined"
    MEMORY_RELEASE = "memory.release", "released"
    KEY_CREATE = "key.create", "made the key"
    KEY_CHANGE = "key.change", "changed the key"
    KEY_ROTATE = "key.rotate", "rotated the key"
    KEY_REVOKE = "key.revoke", "revoked the key"
    CLEARANCE_CHANGE = "clearance.change", "changed the clearance"
    SOURCE_CHANGE = "source.change", "changed the source"
    USER_CHANGE = "user.change", "changed the user"
    CONFLICT_RESOLVE = "conflict.resolve", "decided a conflict of"
    CONFLICT_UNDO = "conflict.undo", "undid a decision about"
    CONFLICT_IMPORT = "conflict.import", "imported decisions about"
    POLICY_CHANGE = "policy.change", "changed the policy"
    POLICY_RUN = "policy.run", "started a run of the policy"
    POLICY_IMPORT = "policy.import", "imported policies"
    SESSION_SIGN_IN = "session.sign_in", "signed in"
    SESSION_LOGIN_FAILED = "session.login_failed", "was refused at the sign-in for"
    SESSION_SIGN_OUT = "session.sign_out", "signed out"
    VIEW_AS_START = "view_as.start", "started viewing as"
    VIEW_AS_STOP = "view_as.stop", "stopped viewing as"
    AUDIT_READS_DROPPED = "audit.reads_dropped", "could not keep all reads"


READ_ACTIONS = (AuditAction.MEMORY_READ, AuditAction.MEMORY_UNMASK, AuditAction.MEMORY_EXPORT)
"""Actions that show memories to their actor. All other actions change something."""
