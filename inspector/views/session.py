"""Signing in and out, and how this browser likes its pages."""

import math
from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from inspector.access import PageRequest, reader, tell_ledger
from inspector.templatetags.inspector import THEMES
from inspector.views import errors
from memoryhub.firewall import deeds, lockout
from memoryhub.firewall.principals import account_of, nobody, principal_of

YEAR_SECONDS = 365 * 24 * 60 * 60


class SignIn(LoginView):
    template_name = "session/sign-in.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        with deeds.together():
            response = super().form_valid(form)
            tell_ledger(self.request, "session.sign_in", by=principal_of(form.get_user()))
        lockout.remember_browser(response, form.get_user().get_username())
        return response

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        # Counted by django-axes: a name and a password were tried, and no lock held already.
        if getattr(self.request, "axes_failures_since_start", None) is not None:
            with deeds.together():
                # No name that is no account's: people type their passwords there, and others whatever they like.
                account = account_of(form.cleaned_data["username"])
                tell_ledger(self.request, "session.refused", by=nobody(), details={"account": account})
        return super().form_invalid(form)


class SignOut(LogoutView):
    http_method_names = ["post"]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with deeds.together():
            if request.user.is_authenticated:
                tell_ledger(request, "session.sign_out", by=principal_of(request.user))
            response: HttpResponse = super().post(request, *args, **kwargs)
        return response


# Also of those who are signed in already, whom the view sends on whatever they ask.
sign_in = require_http_methods(["GET", "HEAD", "POST"])(SignIn.as_view())
sign_out = SignOut.as_view()


def locked_out(request: HttpRequest, _response: Any, credentials: dict[str, Any] | None) -> HttpResponse:
    """What django-axes answers after too many wrong passwords."""
    seconds = lockout.seconds_to_wait(request, credentials)
    return errors.page(
        request,
        429,
        "Too many attempts",
        f"The password was wrong too often. Wait {_duration(seconds)}, or ask your administrator."
        " In a browser in which you signed in before, attempts from elsewhere do not count.",
        headers={"Retry-After": str(seconds)},
    )


def _duration(seconds: int) -> str:
    return f"{seconds} second{pluralize(seconds)}" if seconds < 120 else f"{math.ceil(seconds / 60)} minutes"


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
