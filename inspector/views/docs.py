"""The API's documentation. It shows no data, so that anybody may read it."""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

from inspector.access import PageRequest
from inspector.docs import read
from inspector.view_as import principal_for


# A method that is not known here is told so, and not that it lacks a token.
@csrf_exempt
@require_safe
def docs(request: PageRequest) -> HttpResponse:
    # For the frame of the page, which tells a reader up to which tier they see.
    request.principal = principal_for(request)
    reference = _reference(request.build_absolute_uri("/").rstrip("/"))
    response = render(request, "api/docs.html", {"section": "api", "reference": reference})
    patch_cache_control(response, private=True, no_store=True)
    patch_vary_headers(response, ["Cookie"])
    return response


# A hub is reached by few names; anybody may ask for the page, and it is long.
@lru_cache(maxsize=4)
def _reference(origin: str) -> str:
    return render_to_string("api/docs.html#reference", {"reference": read(_document(), origin=origin)})


@cache
def _document() -> Mapping[str, Any]:
    """The document of `api:schema`. It costs a walk over every route, and changes with the code alone."""
    found: Mapping[str, Any] = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return found
