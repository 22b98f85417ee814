"""Django's admin, for users, keys, clearances and sources. Memories are shown in the inspector instead."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.apps import apps
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

from inspector.auth import InspectorRequest, audit_request
from memoryhub.audit.actions import AuditAction
from memoryhub.firewall import audit_events, keys, rls
from memoryhub.firewall.clearance import get_tier_order, normalize_label
from memoryhub.firewall.models import ApiKey, ClearanceProfile, Source, UserAccess
from memoryhub.firewall.principal import ACTOR_TYPES, Principal, Scope
from memoryhub.firewall.principal_lookup import resolve_principal
from memoryhub.memories import facets

_QUEUE = apps.get_app_config("procrastinate")
# The queue of the worker is no table to look through: `/api/status` says how it does.
admin.site.unregister([User, Group, *filter(admin.site.is_registered, _QUEUE.get_models())])


def _build_choices(values: Iterable[str]) -> list[tuple[str, str]]:
    return [(value, value) for value in values]


def _get_admin_principal(request: HttpRequest) -> Principal:
    return resolve_principal(request.user)


class AuditedModelAdmin(admin.ModelAdmin):
    """Record each change in the audit log, in the transaction of the change."""

    creation_action: AuditAction
    change_action: AuditAction
    audited_fields: tuple[str, ...] = ()

    def get_audit_values(self, row: Any) -> audit_events.FieldValues:
        """Return the field values of a row for the audit log: never a password or a digest."""
        return audit_events.get_field_values(row, self.audited_fields)

    def save_model(self, request: HttpRequest, row: Any, form: Any, change: bool) -> None:
        values_before = self.get_audit_values(self.get_queryset(request).get(pk=row.pk)) if change else {}
        request.values_before = values_before  # type: ignore[attr-defined]
        super().save_model(request, row, form, change)

    def log_addition(self, request: HttpRequest, row: Model, message: Any) -> Any:
        self.record_audit_event(request, self.creation_action, row, self._load_audit_values(request, row))
        return super().log_addition(request, row, message)

    def log_change(self, request: HttpRequest, row: Model, message: Any) -> Any:
        self.record_audit_event(request, self.change_action, row, self._load_audit_values(request, row))
        return super().log_change(request, row, message)

    def log_deletions(self, request: HttpRequest, rows: QuerySet[Any]) -> Any:
        for row in rows:
            request.values_before = self.get_audit_values(row)  # type: ignore[attr-defined]
            self.record_audit_event(request, self.change_action, row, {})
        return super().log_deletions(request, rows)

    def record_audit_event(
        self, request: HttpRequest, action: AuditAction, row: Model, values_after: audit_events.FieldValues
    ) -> None:
        changes = audit_events.diff_field_values(
            getattr(request, "values_before", values_after), values_after
        ) | getattr(request, "extra_changes", {})
        details = {action.partition(".")[0]: str(row), "changed_fields": changes}
        audit_request(request, action, principal=_get_admin_principal(request), details=details)

    def _load_audit_values(self, request: HttpRequest, row: Model) -> audit_events.FieldValues:
        return self.get_audit_values(self.get_queryset(request).get(pk=row.pk))


class ScopesForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=_build_choices(list(Scope)), widget=forms.CheckboxSelectMultiple, required=False
    )


class UserClearanceInline(admin.StackedInline):
    model = UserAccess
    form = ScopesForm
    verbose_name_plural = "clearance (a user without one sees the most open tier only)"


@admin.register(User)
class AuditedUserAdmin(AuditedModelAdmin, UserAdmin):
    creation_action = change_action = AuditAction.USER_CHANGE
    audited_fields = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser")
    inlines = (UserClearanceInline,)
    list_display = ("username", "is_active", "is_staff", "clearance", "last_login")
    list_select_related = ("access__clearance",)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    list_filter = ("is_active", "is_staff")

    @admin.display(description="clearance", ordering="access__clearance__name")
    def clearance(self, user: User) -> str:
        access = getattr(user, "access", None)
        return f"{access.clearance}" if access else f"{get_tier_order()[0]} only"

    def get_audit_values(self, row: Any) -> audit_events.FieldValues:
        access = getattr(row, "access", None)
        return super().get_audit_values(row) | (
            audit_events.get_field_values(access, ("clearance", "scopes")) if access else {}
        )

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        request.extra_changes = audit_events.PASSWORD_CHANGED  # type: ignore[attr-defined]
        with audit_events.atomic():
            response: HttpResponse = super().user_change_password(request, id, form_url)
        return response

    def get_readonly_fields(self, request: HttpRequest, user: Any = None) -> list[str]:
        """Make the username read-only: it identifies a user in the audit log, so no other user may take it over."""
        return ["last_login", "date_joined", *(["username"] if user else [])]

    def has_delete_permission(self, request: HttpRequest, user: User | None = None) -> bool:
        """Users are disabled, not deleted, so that their names stay taken."""
        return False


class ClearanceForm(forms.ModelForm):
    max_tier = forms.ChoiceField(choices=lambda: _build_choices(get_tier_order()))

    def clean_blocked_labels(self) -> list[str]:
        return _require_visible_labels(self.cleaned_data["blocked_labels"])

    def clean_required_labels(self) -> list[str]:
        return _require_visible_labels(self.cleaned_data["required_labels"])


def _require_visible_labels(labels: list[str]) -> list[str]:
    """Return `labels`. Raises ValidationError if one has an empty normalized form, which no memory's label can match.

    As a blocked label it would hide nothing, as a required label everything.
    """
    if not all(map(normalize_label, labels)):
        raise forms.ValidationError("A label must contain a visible character.")
    return labels


@admin.register(ClearanceProfile)
class ClearanceAdmin(AuditedModelAdmin):
    creation_action = change_action = AuditAction.CLEARANCE_CHANGE
    audited_fields = ("name", "max_tier", "blocked_labels", "required_labels", "all_namespaces", "namespaces")
    form = ClearanceForm
    actions = None
    list_display = ("name", "max_tier", "blocked_labels", "required_labels", "all_namespaces", "namespaces")
    search_fields = ("name",)

    def get_urls(self) -> list[URLPattern]:
        preview = path("preview/", self.admin_site.admin_view(self.preview), name="firewall_clearanceprofile_preview")
        return [preview, *super().get_urls()]

    def preview(self, request: InspectorRequest) -> HttpResponse:
        """Show how many of the memories that the editor sees the clearance in the form would see."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        form = self.get_form(request)(request.POST)
        form.is_valid()
        context = {**self.admin_site.each_context(request), "title": "What this clearance sees", "opts": self.opts}
        # A name that is already taken does not matter here; saving reports it.
        if not form.errors.keys() - {"name"}:
            values = {name: value for name, value in form.cleaned_data.items() if name in self.audited_fields}
            context |= _count_visible_memories(ClearanceProfile(**values), _get_admin_principal(request))
        name = "admin/firewall/clearanceprofile/preview.html"
        return TemplateResponse(request, f"{name}#visible_count" if request.htmx else name, context)


def _count_visible_memories(profile: ClearanceProfile, principal: Principal) -> dict[str, int]:
    with rls.as_reader(principal.clearance):
        return {
            "visible_count": facets.count_active(principal.clearance.intersection(profile.as_clearance())),
            "total_count": facets.count_active(principal.clearance),
        }


@admin.register(Source)
class SourceAdmin(AuditedModelAdmin):
    creation_action = change_action = AuditAction.SOURCE_CHANGE
    audited_fields = ("name", "max_tier", "blocked_labels", "required_labels", "all_namespaces", "namespaces")
    form = ClearanceForm
    fields = audited_fields
    actions = None
    list_display = audited_fields
    search_fields = ("name",)

    def get_readonly_fields(self, request: HttpRequest, source: Source | None = None) -> list[str]:
        # Stored memories refer to the source by its name.
        return ["name"] if source else []

    def has_delete_permission(self, request: HttpRequest, source: Source | None = None) -> bool:
        """Sources are not deleted: the next write of the source would create it again, with another clearance."""
        return False


class KeyForm(ScopesForm):
    delegated_actor_types = forms.MultipleChoiceField(
        choices=_build_choices(ACTOR_TYPES),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="Actor types besides its own for which it may pass memories on, as a relay does.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned_data: dict[str, Any] = super().clean() or {}
        scopes = cleaned_data.get("scopes", [])
        if Scope.WRITE in scopes and Scope.ADMIN not in scopes and not cleaned_data.get("source"):
            self.add_error("source", "A key that writes needs the source that it writes as.")
        return cleaned_data


@admin.register(ApiKey)
class ApiKeyAdmin(AuditedModelAdmin):
    creation_action, change_action = AuditAction.KEY_CREATE, AuditAction.KEY_CHANGE
    audited_fields = keys.AUDITED_FIELDS
    form = KeyForm
    fields = keys.AUDITED_FIELDS
    list_display = ("name", "token_key", "source", "scopes", "clearance", "expiry", "revoked_at")
    search_fields = ("name", "token_key", "source")
    actions = ("rotate", "revoke")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"expiry": timezone.now() + knox_settings.TOKEN_TTL, **super().get_changeform_initial_data(request)}

    def get_readonly_fields(self, request: HttpRequest, key: ApiKey | None = None) -> list[str]:
        # A key's name identifies it in the audit log. `revoked_at` is set by the action `revoke` only.
        return ["revoked_at", *(["name"] if key else [])]

    def save_model(self, request: HttpRequest, key: ApiKey, form: Any, change: bool) -> None:
        if not change:
            request.secret = keys.assign_secret(key)  # type: ignore[attr-defined]
        super().save_model(request, key, form, change)

        if key.source:
            source = Source.objects.get(name=key.source)
            write_clearance, read_clearance = source.as_clearance(), key.as_principal().clearance
            if not (write_clearance.is_superset_of(read_clearance) and read_clearance.is_superset_of(write_clearance)):
                messages.info(request, f"It writes within the clearance of the source {source}, whatever it may read.")

    def response_add(self, request: HttpRequest, key: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        return self._show_secrets(request, [(key, request.secret)])  # type: ignore[attr-defined]

    def has_delete_permission(self, request: HttpRequest, key: ApiKey | None = None) -> bool:
        """Keys are revoked, not deleted, so that their writes and reads stay attributable."""
        return False

    @admin.action(description="Rotate the selected keys", permissions=["change"])
    def rotate(self, request: InspectorRequest, selected_keys: QuerySet[ApiKey]) -> HttpResponse | None:
        issued_keys = []
        for key in selected_keys:
            try:
                issued_keys.append(
                    keys.rotate_key(key, principal=_get_admin_principal(request), request_id=request.request_id)
                )
            except keys.KeyInactiveError:
                messages.error(request, f"{key} is not active any more, so there is nothing to hand on.")
        return self._show_secrets(request, issued_keys) if issued_keys else None

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: InspectorRequest, selected_keys: QuerySet[ApiKey]) -> None:
        revocations = [
            keys.revoke_key(key, principal=_get_admin_principal(request), request_id=request.request_id)
            for key in selected_keys
        ]
        messages.success(request, f"{sum(revocations)} keys revoked. They are refused from now on.")

    def _show_secrets(self, request: HttpRequest, issued_keys: list[tuple[ApiKey, str]]) -> HttpResponse:
        """Show the new secrets in this response only. Django's messages would store them in a cookie or a session."""
        context = {
            **self.admin_site.each_context(request),
            "title": "Copy it now",
            "opts": self.opts,
            "issued_keys": issued_keys,
        }
        return TemplateResponse(request, "admin/firewall/apikey/secrets.html", context)
