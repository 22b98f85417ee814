"""Django's admin: users, keys and clearances to edit. Memories are looked at in the inspector."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from knox.settings import knox_settings

from inspector.access import PageRequest, tell_ledger
from memoryhub.firewall import deeds, keys, wall
from memoryhub.firewall.models import ApiKey, ClearanceRecord, Source, UserClearance
from memoryhub.firewall.principals import principal_of
from memoryhub.firewall.types import ACTOR_TYPES, Principal, Scope, label_key, tier_order
from memoryhub.memories import facets

admin.site.unregister([User, Group])


def _choices(values: Iterable[str]) -> list[tuple[str, str]]:
    return [(value, value) for value in values]


def _by(request: HttpRequest) -> Principal:
    return principal_of(request.user)


class Recorded(admin.ModelAdmin):
    """Each change through the admin is one entry in the ledger, in the transaction of the change."""

    noun = ""
    told: tuple[str, ...] = ()

    def state(self, row: Any) -> deeds.Told:
        """What the ledger is told of a stored row: values, and never a password or a digest."""
        return deeds.told(row, self.told)

    def save_model(self, request: HttpRequest, row: Any, form: Any, change: bool) -> None:
        before = self.state(self.get_queryset(request).get(pk=row.pk)) if change else {}
        request.before = before  # type: ignore[attr-defined]
        super().save_model(request, row, form, change)

    def log_addition(self, request: HttpRequest, row: Model, message: Any) -> Any:
        self.tell(request, "create" if self.noun == "key" else "change", row, self._stored(request, row))
        return super().log_addition(request, row, message)

    def log_change(self, request: HttpRequest, row: Model, message: Any) -> Any:
        self.tell(request, "change", row, self._stored(request, row))
        return super().log_change(request, row, message)

    def log_deletions(self, request: HttpRequest, rows: QuerySet[Any]) -> Any:
        for row in rows:
            request.before = self.state(row)  # type: ignore[attr-defined]
            self.tell(request, "change", row, {})
        return super().log_deletions(request, rows)

    def tell(self, request: HttpRequest, verb: str, row: Model, after: deeds.Told) -> None:
        changed = deeds.changes(getattr(request, "before", after), after) | getattr(request, "besides", {})
        details = {self.noun: str(row), "changed": changed}
        tell_ledger(request, f"{self.noun}.{verb}", by=_by(request), details=details)

    def _stored(self, request: HttpRequest, row: Model) -> deeds.Told:
        return self.state(self.get_queryset(request).get(pk=row.pk))


class ScopesForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=_choices(list(Scope)), widget=forms.CheckboxSelectMultiple, required=False
    )


class UserClearanceInline(admin.StackedInline):
    model = UserClearance
    form = ScopesForm
    verbose_name_plural = "clearance (a user without one sees the most open tier only)"


@admin.register(User)
class PersonAdmin(Recorded, UserAdmin):
    noun = "user"
    told = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser")
    inlines = (UserClearanceInline,)
    list_display = ("username", "is_active", "is_staff", "clearance", "last_login")
    list_select_related = ("held_clearance__clearance",)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    list_filter = ("is_active", "is_staff")

    @admin.display(description="clearance", ordering="held_clearance__clearance__name")
    def clearance(self, user: User) -> str:
        held = getattr(user, "held_clearance", None)
        return f"{held.clearance}" if held else f"{tier_order()[0]} only"

    def state(self, row: Any) -> deeds.Told:
        held = getattr(row, "held_clearance", None)
        return super().state(row) | (deeds.told(held, ("clearance", "scopes")) if held else {})

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        request.besides = deeds.NEW_PASSWORD  # type: ignore[attr-defined]
        with deeds.together():
            response: HttpResponse = super().user_change_password(request, id, form_url)
        return response

    def get_readonly_fields(self, request: HttpRequest, user: Any = None) -> list[str]:
        """A name is how the ledger knows somebody: nobody takes over another's past by taking the name."""
        return ["last_login", "date_joined", *(["username"] if user else [])]

    def has_delete_permission(self, request: HttpRequest, user: User | None = None) -> bool:
        """A user is disabled, not deleted, for the same reason."""
        return False


class ClearanceForm(forms.ModelForm):
    max_tier = forms.ChoiceField(choices=lambda: _choices(tier_order()))

    def clean_blocked_labels(self) -> list[str]:
        return _visible_labels(self.cleaned_data["blocked_labels"])

    def clean_required_labels(self) -> list[str]:
        return _visible_labels(self.cleaned_data["required_labels"])


def _visible_labels(labels: list[str]) -> list[str]:
    """`labels`, unless one is nothing to policies: blocked, it would hide no memory; required, all of them."""
    if not all(map(label_key, labels)):
        raise forms.ValidationError("A label must hold something that can be seen.")
    return labels


@admin.register(ClearanceRecord)
class ClearanceAdmin(Recorded):
    noun = "clearance"
    told = ("name", "max_tier", "blocked_labels", "required_labels", "every_namespace", "namespaces")
    form = ClearanceForm
    actions = None
    list_display = ("name", "max_tier", "blocked_labels", "required_labels", "every_namespace", "namespaces")
    search_fields = ("name",)

    def get_urls(self) -> list[URLPattern]:
        preview = path("preview/", self.admin_site.admin_view(self.preview), name="firewall_clearancerecord_preview")
        return [preview, *super().get_urls()]

    def preview(self, request: PageRequest) -> HttpResponse:
        """How many of the memories that the editor may see the clearance in the form would see."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        form = self.get_form(request)(request.POST)
        form.is_valid()
        context = {**self.admin_site.each_context(request), "title": "What this clearance sees", "opts": self.opts}
        # Its name may be taken: that is for saving to say.
        if not form.errors.keys() - {"name"}:
            values = {name: value for name, value in form.cleaned_data.items() if name in self.told}
            context |= _reach(ClearanceRecord(**values), _by(request))
        name = "admin/firewall/clearancerecord/preview.html"
        return TemplateResponse(request, f"{name}#reach" if request.htmx else name, context)


def _reach(record: ClearanceRecord, editor: Principal) -> dict[str, int]:
    with wall.behind(editor.clearance):
        return {
            "seen": facets.total(editor.clearance.meet(record.as_clearance())),
            "all": facets.total(editor.clearance),
        }


@admin.register(Source)
class SourceAdmin(Recorded):
    noun = "source"
    told = ("name", "max_tier", "blocked_labels", "required_labels", "every_namespace", "namespaces")
    form = ClearanceForm
    fields = told
    actions = None
    list_display = told
    search_fields = ("name",)

    def get_readonly_fields(self, request: HttpRequest, source: Source | None = None) -> list[str]:
        # Its memories carry the name.
        return ["name"] if source else []

    def has_delete_permission(self, request: HttpRequest, source: Source | None = None) -> bool:
        """Its next write would create it anew, with another clearance."""
        return False


class KeyForm(ScopesForm):
    vouches_for = forms.MultipleChoiceField(
        choices=_choices(ACTOR_TYPES),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="Actor types besides its own for which it may pass memories on, as a relay does.",
    )

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        scopes = given.get("scopes", [])
        if Scope.WRITE in scopes and Scope.ADMIN not in scopes and not given.get("source"):
            self.add_error("source", "A key that writes needs the source that it writes as.")
        return given


@admin.register(ApiKey)
class ApiKeyAdmin(Recorded):
    noun = "key"
    told = keys.TOLD
    form = KeyForm
    fields = keys.TOLD
    list_display = ("name", "token_key", "source", "scopes", "clearance", "expiry", "revoked_at")
    search_fields = ("name", "token_key", "source")
    actions = ("rotate", "revoke")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"expiry": timezone.now() + knox_settings.TOKEN_TTL, **super().get_changeform_initial_data(request)}

    def get_readonly_fields(self, request: HttpRequest, key: ApiKey | None = None) -> list[str]:
        # The ledger knows it by its name; it is revoked by the action that says so.
        return ["revoked_at", *(["name"] if key else [])]

    def save_model(self, request: HttpRequest, key: ApiKey, form: Any, change: bool) -> None:
        if not change:
            request.secret = keys.seal(key)  # type: ignore[attr-defined]
        super().save_model(request, key, form, change)

        if key.source:
            source = Source.objects.get(name=key.source)
            writing, reading = source.as_clearance(), key.as_principal().clearance
            if not (writing.covers(reading) and reading.covers(writing)):
                messages.info(request, f"It writes within the clearance of the source {source}, whatever it may read.")

    def response_add(self, request: HttpRequest, key: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        return self._show(request, [(key, request.secret)])  # type: ignore[attr-defined]

    def has_delete_permission(self, request: HttpRequest, key: ApiKey | None = None) -> bool:
        """A key is revoked, not deleted: what it wrote and read stays attributable to it."""
        return False

    @admin.action(description="Rotate the selected keys", permissions=["change"])
    def rotate(self, request: PageRequest, chosen: QuerySet[ApiKey]) -> HttpResponse | None:
        made = []
        for key in chosen:
            try:
                made.append(keys.rotate(key, by=_by(request), request_id=request.request_id))
            except keys.NotInForce:
                messages.error(request, f"{key} is not in force any more, so there is nothing to hand on.")
        return self._show(request, made) if made else None

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: PageRequest, chosen: QuerySet[ApiKey]) -> None:
        revoked = [keys.revoke(key, by=_by(request), request_id=request.request_id) for key in chosen]
        messages.success(request, f"{sum(revoked)} keys revoked. They are refused from now on.")

    def _show(self, request: HttpRequest, made: list[tuple[ApiKey, str]]) -> HttpResponse:
        """The secrets, in this answer alone: a message would lie in a cookie or a session until it is shown."""
        context = {**self.admin_site.each_context(request), "title": "Copy it now", "opts": self.opts, "made": made}
        return TemplateResponse(request, "admin/firewall/apikey/made.html", context)
