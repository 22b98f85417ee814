"""What tests of conflicts on pages share: groups to decide about, and the form of a group sent as a browser would."""

import html
import re
from typing import Any

from django.test import Client

from memoryhub.conflicts.keys import id_of
from memoryhub.memories.models import Memory
from tests.builders import at, make_memory
from tests.inspector import pages

HTMX = {"HX-Request": "true"}
STEWARD = "read inspect"
ADA = ("user:ada", "city")


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", html.unescape(pages.text(response)))


def shown(response: Any) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text(response)))


def of(*key: str, view: str = "") -> str:
    return f"/conflicts/{id_of(*key)}{view}"


def disagree(subject: str = "user:ada", collection: str = "city", **fields: Any) -> list[Memory]:
    """Two memories that contradict each other, the one that was said last first."""
    same = {"subject": subject, "collection": collection, **fields}
    paris = make_memory(content="She lives in Paris.", source="crm", timestamp=at("2026-03-01 12:00"), **same)
    london = make_memory(content="She lives in London.", source="bot", timestamp=at("2026-03-02 12:00"), **same)
    return [london, paris]


def form_of(response: Any, action: str) -> dict[str, str]:
    """The hidden fields of the form that posts to `action`."""
    page = pages.text(response)
    (form,) = re.findall(rf'<form [^>]*action="{re.escape(action)}["?].*?</form>', page, re.DOTALL)
    tags = (dict(re.findall(r'(\w+)="([^"]*)"', tag)) for tag in re.findall(r'<input type="hidden"[^>]*>', form))
    return {tag["name"]: html.unescape(tag.get("value", "")) for tag in tags}


def decide(client: Client, *key: str, **typed: Any) -> Any:
    """Send the form of a group's page, as it stands now, with what is typed."""
    typed.setdefault("reason", "Checked.")
    return client.post(of(*key, view="/decide"), {**form_of(client.get(of(*key)), of(*key, view="/decide")), **typed})


def current(memory: Memory) -> Memory:
    return Memory.objects.get(memory_id=memory.memory_id, superseded_at=None)
