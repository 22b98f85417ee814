"""Sign in, sign out, and choose a theme."""

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

from inspector import error_pages
from inspector.auth import InspectorRequest, audit_request, reader_required
from inspector.templatetags.inspector import THEME_COOKIE, THEMES
from memoryhub.audit.actions import AuditAction
from memoryhub.firewall import audit_events, lockout
from memoryhub.firewall.principal_lookup import anonymous_principal, find_user_principal_name, resolve_principal

YEAR_SECONDS = 365 * 24 * 60 * 60


class SignInView(LoginView):
    template_name = "session/sign-in.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        with audit_events.atomic():
            response = super().form_valid(form)
            audit_request(self.request, AuditAction.SESSION_SIGN_IN, principal=resolve_principal(form.get_user()))
        lockout.remember_browser(response, form.get_user().get_username())
        return response

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        # Set by django-axes if it checked a name and password, and not if the browser was locked out already.
        if getattr(self.request, "axes_failures_since_start", None) is not None:
            with audit_events.atomic():
                # Record the name only if it is that of an account: people type passwords and anything else into this
                # field.
                account_name = find_user_principal_name(form.cleaned_data["username"])
                audit_request(
                    self.request,
                    AuditAction.SESSION_LOGIN_FAILED,
                    principal=anonymous_principal(),
                    details={"account": account_name},
                )
        return super().form_invalid(form)


class SignOutView(LogoutView):
    http_method_names = ["post"]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with audit_events.atomic():
            if request.user.is_authenticated:
                audit_request(request, AuditAction.SESSION_SIGN_OUT, principal=resolve_principal(request.user))
            response: HttpResponse = super().post(request, *args, **kwargs)
        return response


# The decorator also restricts the methods of signed-in users, whom the view redirects for any method.
sign_in = require_http_methods(["GET", "HEAD", "POST"])(SignInView.as_view())
sign_out = SignOutView.as_view()


def render_lockout(request: HttpRequest, _response: Any, credentials: dict[str, Any] | None) -> HttpResponse:
    """Render the response of django-axes after too many wrong passwords."""
    seconds = lockout.get_wait_seconds(request, credentials)
    return error_pages.render_error_page(
        request,
        429,
        "Too many attempts",
        f"The password was wrong too often. Wait {_format_duration(seconds)}, or ask your administrator."
        " In a browser in which you signed in before, attempts from elsewhere do not count.",
        headers={"Retry-After": str(seconds)},
    )


def _format_duration(seconds: int) -> str:
    return f"{seconds} second{pluralize(seconds)}" if seconds < 120 else f"{math.ceil(seconds / 60)} minutes"


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Store a theme in a cookie and go back to the page."""
    return_url = request.POST.get("next", "")
    is_own_host = url_has_allowed_host_and_scheme(return_url, {request.get_host()}, require_https=request.is_secure())
    response = HttpResponseRedirect(return_url if is_own_host else reverse("inspector:memory-list"))
    theme_name = request.POST.get("theme")
    if theme_name in THEMES:
        # Not HttpOnly: the page's script reads it, and it holds no secret.
        response.set_cookie(THEME_COOKIE, theme_name, max_age=YEAR_SECONDS, samesite="Lax", secure=request.is_secure())
    return response


@require_safe
@reader_required
def help_page(request: InspectorRequest) -> HttpResponse:
    return render(request, "help/page.html", {"section": "help"})
