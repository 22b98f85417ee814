"""The door for granian: Django, and before it what reads requests and lets callers take turns."""

from django.conf import settings

from memoryhub.wsgi import application as django


def _application() -> object:
    # Django is set up by now, which what follows needs to be imported.
    from memoryhub.front.application import Application  # noqa: PLC0415 - needs Django

    return Application(django, threads=settings.MEMORYHUB.threads)


application = _application()
