"""The query of the conflict queue: its filters, and the addresses of related queues."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from inspector.presenters.conflict_group import CLASS_DESCRIPTIONS, CLASS_TITLES
from inspector.presenters.memory_search import (
    EMPTY_VALUE_LABEL,
    FILTER_PHRASES,
    ActiveFilter,
    FilterField,
    format_error_messages,
    list_params_matching_empty,
    parse_params,
)
from memoryhub.conflicts.detector.compare import CLASSES
from memoryhub.conflicts.groups.class_counts import ClassCounts
from memoryhub.conflicts.groups.group_keys import GroupKey
from memoryhub.conflicts.groups.groups import GROUP_PARAMS, GroupFilterSet
from memoryhub.firewall.clearance import Clearance
from memoryhub.memories.filter_fields import FORM_PARAM
from memoryhub.memories.filters import POINT_IN_TIME_PARAMS

ALL = "all"
PAGE_SIZE = "25"
STATUSES = ("open", "decided", ALL)
FILTER_NAMES = ("subject", "subject_contains", "collection", "source", "namespace", "actor_type", "status")
QUEUE_FIELD_LABELS = {"subject_contains": "Subject contains", "actor_type": "Actor type"}
QUEUE_FILTER_PHRASES = {**FILTER_PHRASES, "subject_contains": "subject contains", "scope": "keys are split by"}
QUEUE_EMPTY_OPTION_LABELS = {"status": "open"}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTab:
    name: str
    title: str
    description: str
    count: str
    is_active: bool
    url: str


class ConflictQueue:
    """The filters of the conflict queue. Without parameters it shows open contradictions."""

    def __init__(self, data: QueryDict, errors: Mapping[str, list[str]] | None = None) -> None:
        self.params = parse_params(data)
        self.is_form_submission = FORM_PARAM in data
        self.errors = errors or {}

    @classmethod
    def from_link(cls, data: QueryDict) -> "ConflictQueue":
        """Return the queue in the parameter `queue` of another page; unknown parameters are dropped."""
        params = parse_params(QueryDict(data.get("queue", "")))
        for name in [
            name for name in params if name not in GroupFilterSet.base_filters or name in POINT_IN_TIME_PARAMS
        ]:
            del params[name]
        if params.get("class", CLASSES[0]) not in (*CLASSES, ALL):
            del params["class"]
        return cls(params)

    @property
    def param_values(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.params.items()}

    @property
    def conflict_class(self) -> str:
        """The conflict class of the queue, or ALL."""
        return str(self.params.get("class", CLASSES[0]))

    @property
    def status(self) -> str:
        return str(self.params.get("status", "open"))

    @property
    def description(self) -> str:
        return CLASS_DESCRIPTIONS.get(self.conflict_class, "Groups of every class.")

    @property
    def group_params(self) -> QueryDict:
        """The parameters for `GroupFilterSet`."""
        return _replace_params(self.params, class_=None if self.conflict_class == ALL else self.conflict_class)

    def build_filters(self, clearance: Clearance, **changes: str | None) -> GroupFilterSet:
        """Build the filters with parameters replaced (None removes one; a trailing _ is ignored).

        Raises InvalidQueryError.
        """
        return GroupFilterSet(_replace_params(self.group_params, **changes), clearance=clearance)

    def build_tabs(self, open_counts: ClassCounts | None) -> list[QueueTab]:
        suffix = "+" if open_counts and open_counts.is_capped else ""
        counts: dict[str, int] = {**open_counts.by_class, ALL: open_counts.total} if open_counts else {}
        return [
            QueueTab(
                name=name,
                title=title,
                description=CLASS_DESCRIPTIONS.get(name, ""),
                count=f"{counts[name]:,}{suffix}" if name in counts else "",
                is_active=name == self.conflict_class,
                url=self.url_replacing(class_=name),
            )
            for name, title in (*CLASS_TITLES.items(), (ALL, "All"))
        ]

    def build_progress(self, open_counts: ClassCounts, decided_counts: ClassCounts) -> dict[str, Any]:
        """Return how many groups of the queue are decided, out of open and decided ones."""
        open_count, decided_count = (
            counts.total if self.conflict_class == ALL else counts.by_class[self.conflict_class]
            for counts in (open_counts, decided_counts)
        )
        return {
            "decided": decided_count,
            "total": decided_count + open_count,
            "is_capped": open_counts.is_capped or decided_counts.is_capped,
        }

    @cached_property
    def active_filters(self) -> list[ActiveFilter]:
        return [
            ActiveFilter(
                name=name,
                value=value,
                phrase=QUEUE_FILTER_PHRASES.get(name, f"{name} is"),
                display_value=value or EMPTY_VALUE_LABEL,
                remove_url=self.url_replacing(**{f"{name}_": None}),
            )
            for name, value in self.param_values.items()
            if name != "class"
            and name in (*GroupFilterSet.base_filters, "min_values")
            and name not in POINT_IN_TIME_PARAMS
        ]

    @property
    def title(self) -> str:
        return CLASS_TITLES.get(self.conflict_class, "Conflicts")

    @property
    def error_messages(self) -> list[str]:
        return format_error_messages(self.errors)

    @property
    def fields(self) -> list[FilterField]:
        return [
            FilterField(
                id=name,
                name=name,
                label=QUEUE_FIELD_LABELS.get(name, name.capitalize()),
                value=self.params.get(name, ""),
                hint=EMPTY_VALUE_LABEL if name in self.params_matching_empty else "any",
                empty_option_label=QUEUE_EMPTY_OPTION_LABELS.get(name, "any"),
                options=_get_field_options(name),
                error=" ".join(self.errors.get(name, ())),
            )
            for name in FILTER_NAMES
        ]

    @property
    def hidden_fields(self) -> list[tuple[str, str]]:
        """Parameters that the filter form does not show, but must keep."""
        return [
            (name, value)
            for name, value in self.param_values.items()
            if value and name not in (*FILTER_NAMES, "cursor")
        ]

    @property
    def params_matching_empty(self) -> list[str]:
        """Names of the filters for empty values."""
        return list_params_matching_empty(self.params)

    @property
    def is_later_page(self) -> bool:
        return "cursor" in self.params

    # Addresses

    @property
    def url(self) -> str:
        return _build_url("inspector:conflict-list", self._get_first_page_params())

    @property
    def cleared_url(self) -> str:
        params = {name: value for name, value in self.param_values.items() if name in ("class", *POINT_IN_TIME_PARAMS)}
        return reverse("inspector:conflict-list") + (f"?{urlencode(params)}" if params else "")

    @property
    def json_url(self) -> str:
        return _build_url("api:conflict-list", self.group_params)

    def url_replacing(self, **changes: str | None) -> str:
        """Return the first page with parameters replaced; None removes one, and a trailing _ of a name is ignored."""
        params = _replace_params(self._get_first_page_params(), **changes)
        if params.get("class") == CLASSES[0]:
            del params["class"]
        return _build_url("inspector:conflict-list", params)

    def next_page_url(self, cursor: str | None) -> str:
        return _build_url("inspector:conflict-list", _replace_params(self.params, cursor=cursor)) if cursor else ""

    @property
    def query_suffix(self) -> str:
        """The queue as a query string for the pages of its groups, so that they lead on in the same queue."""
        params = self._get_first_page_params()
        instants = {name: params.pop(name)[0] for name in POINT_IN_TIME_PARAMS if name in params}
        for name in GROUP_PARAMS:
            params.pop(name, None)
        query = {**({"queue": params.urlencode()} if params else {}), **instants}
        return f"?{urlencode(query)}" if query else ""

    def group_url(self, group_id: str, view: str = "inspector:conflict-detail") -> str:
        return reverse(view, args=[group_id]) + self.query_suffix

    def _get_first_page_params(self) -> QueryDict:
        return _replace_params(self.params, cursor=None)


def build_group_filters(key: GroupKey, instants: Mapping[str, str], clearance: Clearance) -> GroupFilterSet:
    """Return the filters that find one group, open or decided. Raises InvalidQueryError."""
    data = QueryDict(mutable=True)
    data.update({**instants, "status": ALL, "include_keyless": "true"})
    if len(key) > 2:
        data["scope"] = "namespace"
    return GroupFilterSet(data, clearance=clearance)


def _get_field_options(name: str) -> tuple[str, ...]:
    if name == "status":
        return STATUSES[1:]
    field: Any = GroupFilterSet.base_filters[name].field
    return tuple(option for option, _ in getattr(field, "choices", ()) if option)


def _replace_params(params: QueryDict, **changes: str | None) -> QueryDict:
    replaced_params = params.copy()
    for name, value in changes.items():
        replaced_params.setlist(name.rstrip("_"), [] if value is None else [value])
    return parse_params(replaced_params)


def _build_url(view: str, params: QueryDict) -> str:
    query = params.urlencode()
    return reverse(view) + (f"?{query}" if query else "")
