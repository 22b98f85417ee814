"""What tests of pages share: somebody who is signed in, and what a page says."""

from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from tests.factories import make_user


def logged_in_client(user: User, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client


def client_for_new_user(name: str = "ada", **user_fields: Any) -> Client:
    """A new user, who sees every tier unless told otherwise."""
    return logged_in_client(make_user(name, **{"max_tier": "restricted", **user_fields}))


def response_text(response: Any) -> str:
    return str(response.content.decode())
