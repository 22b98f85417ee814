"""Django's admin: users, keys and clearances to edit, memories to read through the same firewall as everywhere."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from knox.models import get_digest_token

from memoryhub.firewall.models import ApiKey, ClearanceRecord, UserClearance
from memoryhub.firewall.principals import principal_of
from memoryhub.firewall.types import Scope, tier_order
from memoryhub.memories.models import Memory
from memoryhub.memories.querysets import NEWEST_FIRST

admin.site.site_header = admin.site.site_title = "memoryhub"
admin.site.index_title = "Administration"
admin.site.unregister([User, Group])


def _choices(values: list[str]) -> list[tuple[str, str]]:
    return [(value, value) for value in values]


class ScopesForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=_choices(list(Scope)), widget=forms.CheckboxSelectMultiple, required=False
    )


class UserClearanceInline(admin.StackedInline):
    model = UserClearance
    form = ScopesForm
    verbose_name_plural = "clearance (a user without one sees the most open tier only)"


@admin.register(User)
class PersonAdmin(UserAdmin):
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


class ClearanceForm(forms.ModelForm):
    max_tier = forms.ChoiceField(choices=lambda: _choices(tier_order()))


@admin.register(ClearanceRecord)
class ClearanceAdmin(admin.ModelAdmin):
    form = ClearanceForm
    list_display = ("name", "max_tier", "blocked_labels", "required_labels", "every_namespace", "namespaces")
    search_fields = ("name",)


class KeyForm(ScopesForm):
    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        scopes = given.get("scopes", [])
        if Scope.WRITE in scopes and Scope.ADMIN not in scopes and not given.get("source"):
            self.add_error("source", "A key that writes needs the source that it writes as.")
        return given


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):
    form = KeyForm
    fields = ("name", "user", "source", "actor_type", "scopes", "clearance", "expiry", "revoked_at")
    list_display = ("name", "token_key", "source", "scopes", "clearance", "expiry", "revoked_at")
    search_fields = ("name", "token_key", "source")
    actions = ("revoke",)

    def save_model(self, request: HttpRequest, key: ApiKey, form: Any, change: bool) -> None:
        if not change:
            key.digest, secret = get_digest_token()
            key.token_key = secret[:15]
            messages.warning(request, f"The key is {secret}. Copy it now: it is shown this once and kept as a hash.")
        super().save_model(request, key, form, change)

    def has_delete_permission(self, request: HttpRequest, key: ApiKey | None = None) -> bool:
        """A key is revoked, not deleted: what it wrote and read stays attributable to it."""
        return False

    @admin.action(description="Revoke the selected keys")
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        revoked = keys.filter(revoked_at=None).update(revoked_at=timezone.now())
        messages.success(request, f"{revoked} keys revoked. They are refused from now on.")


@admin.register(Memory)
class MemoryAdmin(admin.ModelAdmin):
    """To read only, and only as a list: a page for each would go by the internal id, which counts hidden rows.

    No filters and no search: they would list values of rows that the reader may not see.
    """

    list_display = ("page", "source", "subject", "collection", "classification_tier", "timestamp", "status")
    list_display_links = None
    actions = None
    ordering: ClassVar[tuple[str, ...]] = NEWEST_FIRST
    show_full_result_count = False

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.changelist_view), name="memories_memory_changelist")]

    @admin.display(description="memory")
    def page(self, memory: Memory) -> str:
        return format_html(
            '<a href="{}">{}</a>', reverse("inspector:memory", args=[memory.memory_id]), memory.memory_id
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Memory]:
        return Memory.objects.visible_to(principal_of(request.user).clearance).current()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, memory: Memory | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, memory: Memory | None = None) -> bool:
        return False
