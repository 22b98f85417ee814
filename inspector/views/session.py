"""Signing in and out, and how this browser likes its pages."""

from typing import Any

from django.conf import settings
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from inspector.access import PageRequest, reader
from inspector.templatetags.inspector import THEMES
from inspector.views import errors

YEAR_SECONDS = 365 * 24 * 60 * 60


class SignIn(LoginView):
    template_name = "session/sign-in.html"
    redirect_authenticated_user = True


sign_in = SignIn.as_view()
sign_out = LogoutView.as_view(http_method_names=["post", "options"])


def locked_out(request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
    """What django-axes answers after too many wrong passwords."""
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    return errors.page(
        request,
        429,
        "Too many attempts",
        f"The password was wrong too often. Wait {minutes} minutes, or ask your administrator.",
        headers={"Retry-After": str(minutes * 60)},
    )


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep a theme in a cookie and go back to where it was chosen."""
    back = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    response = HttpResponseRedirect(back if is_ours else reverse("inspector:memories"))
    chosen = request.POST.get("theme")
    if chosen in THEMES:
        # Read by the page's own script too: it holds no secret.
        response.set_cookie("theme", chosen, max_age=YEAR_SECONDS, samesite="Lax", secure=request.is_secure())
    return response


@require_safe
@reader
def help_page(request: PageRequest) -> HttpResponse:
    return render(request, "help/page.html", {"section": "help"})
