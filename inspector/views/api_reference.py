"""The API reference. It shows no data, so it needs no sign-in."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from drf_spectacular.settings import spectacular_settings

from inspector.auth import InspectorRequest
from inspector.presenters.api_reference import parse_openapi
from inspector.view_as import get_effective_principal


# Exempt from CSRF, so that an unsupported method gets a 405 and not a 403.
@csrf_exempt
@require_safe
def api_docs(request: InspectorRequest) -> HttpResponse:
    # The page's frame shows the tier of the reader.
    request.principal = get_effective_principal(request)
    reference = _render_reference(request.build_absolute_uri("/").rstrip("/"))
    response = render(request, "api/docs.html", {"section": "api", "reference": reference})
    patch_cache_control(response, private=True, no_store=True)
    patch_vary_headers(response, ["Cookie"])
    return response


# A hub has few origins, and rendering this public page is expensive.
@lru_cache(maxsize=4)
def _render_reference(origin: str) -> str:
    return render_to_string("api/docs.html#reference", {"reference": parse_openapi(_load_document(), origin=origin)})


def _load_document() -> Mapping[str, Any]:
    """Return the document of `/api/schema`, by the generator that the settings name for it."""
    document: Mapping[str, Any] = spectacular_settings.DEFAULT_GENERATOR_CLASS().get_schema(public=True)
    return document
