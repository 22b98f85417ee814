"""What tests of conflicts on pages share: groups to decide about, and the form of a group sent as a browser would."""

import html
import re
from typing import Any

from django.test import Client

from memoryhub.conflicts.groups.group_keys import encode_id
from memoryhub.memories.models import Memory
from tests.factories import make_memory, utc
from tests.inspector import clients

HTMX = {"HX-Request": "true"}
STEWARD = "read curate"
ADA_KEY = ("user:ada", "city")


def normalized_html(response: Any) -> str:
    return re.sub(r"\s+", " ", html.unescape(clients.response_text(response)))


def visible_text(response: Any) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", normalized_html(response)))


def group_url(*key: str, view: str = "") -> str:
    return f"/conflicts/{encode_id(*key)}{view}"


def make_conflict(subject: str = "user:ada", collection: str = "city", **fields: Any) -> list[Memory]:
    """Two memories that contradict each other, the one that was said last first."""
    shared_fields = {"subject": subject, "collection": collection, **fields}
    paris = make_memory(content="She lives in Paris.", source="crm", timestamp=utc("2026-03-01 12:00"), **shared_fields)
    london = make_memory(
        content="She lives in London.", source="bot", timestamp=utc("2026-03-02 12:00"), **shared_fields
    )
    return [london, paris]


def hidden_fields(response: Any, action: str) -> dict[str, str]:
    """The hidden fields of the form that posts to `action`."""
    page = clients.response_text(response)
    (form,) = re.findall(rf'<form [^>]*action="{re.escape(action)}["?].*?</form>', page, re.DOTALL)
    tags = (dict(re.findall(r'(\w+)="([^"]*)"', tag)) for tag in re.findall(r'<input type="hidden"[^>]*>', form))
    return {tag["name"]: html.unescape(tag.get("value", "")) for tag in tags}


def post_decision(client: Client, *key: str, **form_data: Any) -> Any:
    """Send the form of a group's page, as it stands now, with what is typed."""
    return send_group_form(client, client.get(group_url(*key)), *key, **form_data)


def send_group_form(client: Client, page: Any, *key: str, **form_data: Any) -> Any:
    """Send the form of `page`, which shows a group, with what is typed."""
    form_data.setdefault("reason", "Checked.")
    url = group_url(*key, view="/resolve")
    return client.post(url, {**hidden_fields(page, url), **form_data})


def current_version(memory: Memory) -> Memory:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)
