"""What tests of pages share: somebody who is signed in, and what a page says."""

from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from tests.builders import make_user


def client_of(user: User, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client


def signed_in(name: str = "ada", **rights: Any) -> Client:
    """A new user, who sees every tier unless told otherwise."""
    return client_of(make_user(name, **{"max_tier": "restricted", **rights}))


def text(answer: Any) -> str:
    return str(answer.content.decode())
