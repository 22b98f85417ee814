"""How the text of a search becomes filters: the parameters that it names, and the texts that contents must contain."""

from collections.abc import Collection, Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils import timezone

from memoryhub.memories.filter_fields import EXCLUDING_SUFFIX, MAX_FILTER_VALUES, FilterValuesField
from memoryhub.memories.query_language import Accepts, ParsedQuery, Term, TermKind, parse_query
from memoryhub.memories.sql.search_conditions import SearchTerms

NO_QUERY = ParsedQuery()


class AcceptedParams:
    """The parameters that a search text may name, given those that were sent beside it."""

    def __init__(self, fields: dict[str, Any], data: QueryDict, *, statuses: Collection[str]) -> None:
        """`statuses` are those that the caller may filter by."""
        self._fields, self._statuses = fields, statuses
        self._value_counts = {
            name: len(data.getlist(name)) + len(data.getlist(name + EXCLUDING_SUFFIX)) for name in fields
        }

    def accepts(self, name: str, value: str, is_excluded: bool) -> bool:
        """Whether a filter takes one more value. A parameter that can be given once is not given again."""
        field = self._fields.get(name)
        if field is None or (name == "status" and value not in self._statuses):
            return False
        try:
            if isinstance(field, FilterValuesField):
                max_values = MAX_FILTER_VALUES
                field.validate_value(value)
            else:
                max_values = 0 if is_excluded or value == "" else 1
                field.clean(value)
        except ValidationError:
            return False
        if self._value_counts[name] >= max_values:
            return False
        self._value_counts[name] += 1
        return True


def read_query(text: str, *, accepts: Accepts) -> ParsedQuery:
    """Read a search text. One without a word and without a filter, such as `(!)`, is read as literal text.

    It would match every memory otherwise.
    """
    query = parse_query(text, accepts=accepts, now=timezone.now())
    if query.terms or query.field_terms:
        return query
    return ParsedQuery(terms=(Term(kind=TermKind.LITERAL, text=text.strip(), is_explicit=True),))


def build_search_terms(terms: Iterable[Term], labels: tuple[str, ...]) -> SearchTerms:
    """Return the condition that a memory matches all `terms` and has all `labels`."""
    terms = tuple(terms)

    def texts(kind: TermKind, *, is_excluded: bool) -> tuple[str, ...]:
        return tuple(term.text for term in terms if term.kind is kind and term.is_excluded == is_excluded)

    return SearchTerms(
        words=texts(TermKind.WORDS, is_excluded=False),
        excluded_words=texts(TermKind.WORDS, is_excluded=True),
        literals=texts(TermKind.LITERAL, is_excluded=False),
        excluded_literals=texts(TermKind.LITERAL, is_excluded=True),
        labels=labels,
    )


def with_named_params(data: QueryDict, query: ParsedQuery) -> QueryDict:
    """Return the parameters with those that `query` names."""
    if not query.field_terms:
        return data
    params = data.copy()
    for term in query.field_terms:
        for value in term.values:
            params.appendlist(term.name + EXCLUDING_SUFFIX * term.is_excluded, value)
    return params
