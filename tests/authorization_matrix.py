"""Who may call which route: a line for each method, with the status that each kind of caller gets."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from django.urls import URLResolver, get_resolver

USERS = ("analyst", "steward", "admin")
KEYS = ("write", "read", "curate", "admin key")
# Keys that are no longer valid, and the key and the open session of a user whose account was disabled.
DISABLED_USERS_KEY, DISABLED_USERS_SESSION = "disabled user's key", "disabled user's session"
INVALID_CREDENTIALS = ("expired", "revoked", DISABLED_USERS_KEY, DISABLED_USERS_SESSION)
CALLERS = ("anonymous", *USERS, *KEYS, *INVALID_CREDENTIALS)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
Row = tuple[int, ...]


def api_row(*statuses: int) -> Row:
    """A route of the API: three kinds of people, four kinds of keys."""
    return (401, *statuses, 401, 401, 401, 401)


def page_row(analyst: int, steward: int, admin: int) -> Row:
    """A page: an anonymous visitor goes to the sign-in, with a key as without one."""
    return (302, analyst, steward, admin, *[302] * 8)


def same_for_all(status: int) -> Row:
    return (status,) * len(CALLERS)


API_READ = api_row(200, 200, 200, 403, 200, 403, 200)
USER_PAGE = page_row(200, 200, 200)
ADMIN_PAGE = page_row(403, 403, 200)
# Done, and on to another page.
ADMIN_REDIRECT = page_row(403, 403, 302)

AUTHORIZATION_MATRIX: dict[str, Row] = {
    "GET api:memory-list": API_READ,
    "POST api:memory-list": api_row(403, 403, 201, 201, 403, 403, 201),
    "GET api:memory-detail": API_READ,
    "GET api:memory-versions": API_READ,
    # To classify memories a caller must be able to read them.
    "POST api:memory-classify": api_row(403, 200, 200, 403, 403, 403, 200),
    "POST api:memories-classify": api_row(403, 200, 200, 403, 403, 403, 200),
    "POST api:secret-search": api_row(403, 200, 200, 403, 403, 403, 200),
    "GET api:audit-log": api_row(403, 200, 200, 403, 403, 403, 200),
    "GET api:search": API_READ,
    "POST api:search": API_READ,
    "GET api:memory-similar": API_READ,
    "GET api:facets": API_READ,
    "GET api:histogram": API_READ,
    "GET api:timetravel": API_READ,
    "GET api:diff": API_READ,
    "GET api:conflict-list": API_READ,
    "GET api:conflict-detail": API_READ,
    "POST api:conflict-resolve": api_row(403, 201, 201, 403, 403, 403, 201),
    "POST api:conflict-claim": api_row(403, 200, 200, 403, 403, 403, 200),
    "GET api:decision-list": API_READ,
    "GET api:decision-export": API_READ,
    "GET api:decision-detail": API_READ,
    "POST api:decision-undo": api_row(403, 201, 201, 403, 403, 403, 201),
    "GET api:policy-list": api_row(403, 200, 200, 403, 403, 200, 200),
    "POST api:policy-list": api_row(403, 403, 201, 403, 403, 403, 201),
    "GET api:policy-detail": api_row(403, 200, 200, 403, 403, 200, 200),
    "POST api:policy-detail": api_row(403, 403, 201, 403, 403, 403, 201),
    "POST api:policy-dry-run": api_row(403, 200, 200, 403, 403, 403, 200),
    "POST api:policy-run-create": api_row(403, 403, 201, 403, 403, 403, 201),
    "GET api:policy-run-list": api_row(403, 200, 200, 403, 403, 200, 200),
    "GET api:policy-run-detail": api_row(403, 200, 200, 403, 403, 200, 200),
    "POST api:policy-run-advance": api_row(403, 403, 200, 403, 403, 403, 200),
    "POST api:policy-run-undo": api_row(403, 403, 200, 403, 403, 403, 200),
    "GET api:replay": api_row(403, 200, 200, 403, 403, 403, 200),
    "GET api:status": API_READ,
    # Anybody may read the schema; an invalid key is refused.
    "GET api:schema": (200, 200, 200, 200, 200, 200, 200, 200, 401, 401, 401, 200),
    "* api:^(?P<rest>.*)$": same_for_all(404),
    "GET docs": same_for_all(200),
    "GET ready": same_for_all(200),
    "GET health": same_for_all(200),
    # Off, unless MEMORYHUB_METRICS is set (tests/api/native/test_metrics.py).
    "* metrics": same_for_all(404),
    "GET inspector:memory-list": USER_PAGE,
    "GET inspector:memory-list-path": USER_PAGE,
    "GET inspector:memory-detail": USER_PAGE,
    "GET inspector:diff": USER_PAGE,
    "POST inspector:memory-unmask": page_row(403, 200, 200),
    "GET inspector:secret-search": page_row(403, 200, 200),
    "POST inspector:secret-search": page_row(403, 200, 200),
    "POST inspector:memory-classify": page_row(403, 302, 302),
    "GET inspector:subject-detail": USER_PAGE,
    "GET inspector:time-choose": USER_PAGE,
    "GET inspector:replay": page_row(403, 200, 200),
    "GET inspector:memories-classify": page_row(403, 200, 200),
    "POST inspector:memories-classify": page_row(403, 302, 302),
    "POST inspector:classification-undo": page_row(403, 302, 302),
    "GET inspector:conflict-list": USER_PAGE,
    "GET inspector:conflict-detail": USER_PAGE,
    "POST inspector:conflict-resolve": page_row(403, 302, 302),
    "POST inspector:conflict-claim": page_row(403, 302, 302),
    "POST inspector:conflict-similar": page_row(403, 200, 200),
    "GET inspector:decision-list": USER_PAGE,
    "GET inspector:decision-detail": USER_PAGE,
    "POST inspector:decision-undo": page_row(403, 302, 302),
    "GET inspector:policy-list": page_row(403, 200, 200),
    "GET inspector:policy-create": page_row(403, 403, 200),
    "POST inspector:policy-create": page_row(403, 403, 302),
    "GET inspector:policy-detail": page_row(403, 200, 200),
    "POST inspector:policy-detail": page_row(403, 403, 302),
    "GET inspector:policy-dry-run": page_row(403, 200, 200),
    "POST inspector:policy-run-create": page_row(403, 403, 302),
    "GET inspector:policy-run-detail": page_row(403, 200, 200),
    "POST inspector:policy-run-advance": page_row(403, 403, 302),
    "POST inspector:policy-run-undo": page_row(403, 403, 302),
    "GET inspector:audit-log": page_row(403, 200, 200),
    "GET inspector:audit-principal": page_row(403, 200, 200),
    "GET inspector:view-as": page_row(403, 200, 200),
    "POST inspector:view-as": page_row(403, 302, 302),
    "POST inspector:view-as-stop": page_row(302, 302, 302),
    "GET inspector:help": USER_PAGE,
    "GET inspector:sign-in": (200, 302, 302, 302, *[200] * 8),
    "POST inspector:sign-in": same_for_all(302),
    "POST inspector:sign-out": same_for_all(302),
    "POST inspector:theme": same_for_all(302),
    "GET admin:index": ADMIN_PAGE,
    "GET admin:app_list": ADMIN_PAGE,
    "GET admin:jsi18n": ADMIN_PAGE,
    "GET admin:password_change": ADMIN_PAGE,
    "POST admin:password_change": ADMIN_REDIRECT,
    "GET admin:password_change_done": ADMIN_PAGE,
    "POST admin:logout": ADMIN_REDIRECT,
    "GET admin:(?P<url>.*)$": page_row(403, 403, 404),
    "GET admin:*_changelist": ADMIN_PAGE,
    "POST admin:auth_user_changelist": ADMIN_PAGE,
    "POST admin:firewall_clearanceprofile_changelist": ADMIN_PAGE,
    "POST admin:firewall_apikey_changelist": ADMIN_PAGE,
    "POST admin:firewall_source_changelist": ADMIN_PAGE,
    "GET admin:*_add": ADMIN_PAGE,
    "POST admin:auth_user_add": ADMIN_REDIRECT,
    "POST admin:firewall_clearanceprofile_add": ADMIN_REDIRECT,
    "POST admin:firewall_apikey_add": ADMIN_PAGE,
    "POST admin:firewall_source_add": ADMIN_REDIRECT,
    "GET admin:*_change": ADMIN_PAGE,
    "POST admin:*_change": ADMIN_REDIRECT,
    "GET admin:*_history": ADMIN_PAGE,
    "GET admin:*/<path:object_id>/": ADMIN_REDIRECT,
    "GET admin:firewall_clearanceprofile_delete": ADMIN_PAGE,
    "POST admin:firewall_clearanceprofile_delete": ADMIN_REDIRECT,
    # Users and keys are disabled and revoked: what they did stays theirs.
    "GET admin:*_delete": page_row(403, 403, 403),
    "POST admin:*_delete": page_row(403, 403, 403),
    "GET admin:auth_user_password_change": ADMIN_PAGE,
    "POST admin:auth_user_password_change": ADMIN_REDIRECT,
    "POST admin:firewall_clearanceprofile_preview": ADMIN_PAGE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    pattern: str

    def __str__(self) -> str:
        return self.name


def iter_routes(resolver: URLResolver, namespace: str = "", prefix: str = "") -> Iterator[Route]:
    for route in resolver.url_patterns:
        pattern = prefix + str(route.pattern)
        if isinstance(route, URLResolver):
            yield from iter_routes(route, f"{route.namespace}:" if route.namespace else namespace, pattern)
        else:
            # What has no name is known by its pattern within its namespace.
            name = route.name or re.sub(r"^(api|admin)/", "", pattern)
            yield Route(f"{namespace}{name}", pattern)


# `health` is answered by a middleware, before any URL conf.
ROUTES = [*iter_routes(get_resolver()), Route("health", "health")]
CELLS = [(method, route) for route in ROUTES for method in METHODS]


def matrix_row(method: str, route: Route) -> Row | None:
    """The row of a route: by its own name, else by a pattern over Django's admin."""
    route_key = f"{method} {route.name}"
    if route_key in AUTHORIZATION_MATRIX:
        return AUTHORIZATION_MATRIX[route_key]
    if f"* {route.name}" in AUTHORIZATION_MATRIX:
        return AUTHORIZATION_MATRIX[f"* {route.name}"]
    # Django's admin has the same routes for each of its tables.
    return next(
        (
            statuses
            for pattern, statuses in AUTHORIZATION_MATRIX.items()
            if "admin:*" in pattern and fnmatch(route_key, pattern)
        ),
        None,
    )


LISTED_CELLS = [(method, route) for method, route in CELLS if matrix_row(method, route) is not None]
POST_CELLS = [
    (method, route)
    for method, route in LISTED_CELLS
    if method == "POST" and f"* {route.name}" not in AUTHORIZATION_MATRIX
]
