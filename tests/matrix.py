"""Who may call which route: a line for each method, with the status that each kind of caller gets."""

PEOPLE = ("analyst", "steward", "admin")
KEYS = ("write", "read", "inspect", "admin key")
# Keys that are none any more; `left` is somebody whose account was disabled, with a key and with an open session.
REFUSED = ("expired", "revoked", "left's key", "left's session")
CALLERS = ("nobody", *PEOPLE, *KEYS, *REFUSED)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
Row = tuple[int, ...]


def door(*people_and_keys: int) -> Row:
    """A route of the API: three kinds of people, four kinds of keys."""
    return (401, *people_and_keys, 401, 401, 401, 401)


def page(analyst: int, steward: int, admin: int) -> Row:
    """A page: whoever is not signed in goes to the sign-in, with a key as without one."""
    return (302, analyst, steward, admin, *[302] * 8)


def anybody(status: int) -> Row:
    return (status,) * len(CALLERS)


READ = door(200, 200, 200, 403, 200, 403, 200)
OPEN = page(200, 200, 200)
ADMIN = page(403, 403, 200)
# Done, and on to another page.
ADMIN_DOES = page(403, 403, 302)

TABLE: dict[str, Row] = {
    "GET api:memories": READ,
    "POST api:memories": door(403, 403, 201, 201, 403, 403, 201),
    "GET api:memory": READ,
    "GET api:memory-versions": READ,
    # Who judges memories must be able to read them, too.
    "POST api:memory-labels": door(403, 200, 200, 403, 403, 403, 200),
    "POST api:labels": door(403, 200, 200, 403, 403, 403, 200),
    "POST api:memory-secrets": door(403, 200, 200, 403, 403, 403, 200),
    "GET api:ledger": door(403, 200, 200, 403, 403, 403, 200),
    "GET api:facets": READ,
    "GET api:histogram": READ,
    "GET api:timetravel": READ,
    "GET api:diff": READ,
    "GET api:conflicts": READ,
    "GET api:conflict": READ,
    "POST api:conflict-decisions": door(403, 201, 201, 403, 403, 403, 201),
    "POST api:conflict-claim": door(403, 200, 200, 403, 403, 403, 200),
    "GET api:decisions": READ,
    "GET api:decisions-export": READ,
    "GET api:decision": READ,
    "POST api:decision-undo": door(403, 201, 201, 403, 403, 403, 201),
    "GET api:policies": door(403, 200, 200, 403, 403, 200, 200),
    "POST api:policies": door(403, 403, 201, 403, 403, 403, 201),
    "GET api:policy": door(403, 200, 200, 403, 403, 200, 200),
    "POST api:policy": door(403, 403, 201, 403, 403, 403, 201),
    "POST api:policy-dry-run": door(403, 200, 200, 403, 403, 403, 200),
    "POST api:policy-run": door(403, 403, 201, 403, 403, 403, 201),
    "GET api:policy-runs": door(403, 200, 200, 403, 403, 200, 200),
    "GET api:policy-run-of-id": door(403, 200, 200, 403, 403, 200, 200),
    "POST api:policy-run-go": door(403, 403, 200, 403, 403, 403, 200),
    "POST api:policy-run-undo": door(403, 403, 200, 403, 403, 403, 200),
    "GET api:replay": door(403, 200, 200, 403, 403, 403, 200),
    "GET api:status": READ,
    # Anybody may read what the API is; a key that is none is told so.
    "GET api:schema": (200, 200, 200, 200, 200, 200, 200, 200, 401, 401, 401, 200),
    "* api:^(?P<rest>.*)$": anybody(404),
    "GET docs": anybody(200),
    "GET ready": anybody(200),
    "GET health": anybody(200),
    "GET inspector:memories": OPEN,
    "GET inspector:memories-list": OPEN,
    "GET inspector:memory": OPEN,
    "GET inspector:diff": OPEN,
    "POST inspector:memory-reveal": page(403, 200, 200),
    "GET inspector:memory-secrets": page(403, 200, 200),
    "POST inspector:memory-secrets": page(403, 200, 200),
    "POST inspector:memory-labels": page(403, 302, 302),
    "GET inspector:subject": OPEN,
    "GET inspector:time": OPEN,
    "GET inspector:replay": page(403, 200, 200),
    "GET inspector:labels": page(403, 200, 200),
    "POST inspector:labels": page(403, 302, 302),
    "POST inspector:labels-undo": page(403, 302, 302),
    "GET inspector:conflicts": OPEN,
    "GET inspector:conflict": OPEN,
    "POST inspector:conflict-decide": page(403, 302, 302),
    "POST inspector:conflict-claim": page(403, 302, 302),
    "POST inspector:conflict-similar": page(403, 200, 200),
    "GET inspector:decisions": OPEN,
    "GET inspector:decision": OPEN,
    "POST inspector:decisions-undo": page(403, 302, 302),
    "GET inspector:policies": page(403, 200, 200),
    "GET inspector:policy-new": page(403, 403, 200),
    "POST inspector:policy-new": page(403, 403, 302),
    "GET inspector:policy": page(403, 200, 200),
    "POST inspector:policy": page(403, 403, 302),
    "GET inspector:policy-dry-run": page(403, 200, 200),
    "POST inspector:policy-start": page(403, 403, 302),
    "GET inspector:policy-run": page(403, 200, 200),
    "POST inspector:policy-run-go": page(403, 403, 302),
    "POST inspector:policy-run-undo": page(403, 403, 302),
    "GET inspector:ledger": page(403, 200, 200),
    "GET inspector:ledger-principal": page(403, 200, 200),
    "GET inspector:view-as": page(403, 200, 200),
    "POST inspector:view-as": page(403, 302, 302),
    "POST inspector:view-as-stop": page(302, 302, 302),
    "GET inspector:help": OPEN,
    "GET inspector:sign-in": (200, 302, 302, 302, *[200] * 8),
    "POST inspector:sign-in": anybody(302),
    "POST inspector:sign-out": anybody(302),
    "POST inspector:theme": anybody(302),
    "GET admin:index": ADMIN,
    "GET admin:app_list": ADMIN,
    "GET admin:jsi18n": ADMIN,
    "GET admin:password_change": ADMIN,
    "POST admin:password_change": ADMIN_DOES,
    "GET admin:password_change_done": ADMIN,
    "POST admin:logout": ADMIN_DOES,
    "GET admin:(?P<url>.*)$": page(403, 403, 404),
    "GET admin:*_changelist": ADMIN,
    "POST admin:auth_user_changelist": ADMIN,
    "POST admin:firewall_clearancerecord_changelist": ADMIN,
    "POST admin:firewall_apikey_changelist": ADMIN,
    "POST admin:firewall_source_changelist": ADMIN,
    "GET admin:*_add": ADMIN,
    "POST admin:auth_user_add": ADMIN_DOES,
    "POST admin:firewall_clearancerecord_add": ADMIN_DOES,
    "POST admin:firewall_apikey_add": ADMIN,
    "POST admin:firewall_source_add": ADMIN_DOES,
    "GET admin:*_change": ADMIN,
    "POST admin:*_change": ADMIN_DOES,
    "GET admin:*_history": ADMIN,
    "GET admin:*/<path:object_id>/": ADMIN_DOES,
    "GET admin:firewall_clearancerecord_delete": ADMIN,
    "POST admin:firewall_clearancerecord_delete": ADMIN_DOES,
    # Users and keys are disabled and revoked: what they did stays theirs.
    "GET admin:*_delete": page(403, 403, 403),
    "POST admin:*_delete": page(403, 403, 403),
    "GET admin:auth_user_password_change": ADMIN,
    "POST admin:auth_user_password_change": ADMIN_DOES,
    "POST admin:firewall_clearancerecord_preview": ADMIN,
}  # fmt: skip
