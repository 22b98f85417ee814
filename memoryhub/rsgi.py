"""The RSGI application for granian: `memoryhub.front` before Django."""

from django.conf import settings

from memoryhub.wsgi import application as django


def _create_application() -> object:
    # This import needs Django, which importing `memoryhub.wsgi` has set up.
    from memoryhub.front.application import Application  # noqa: PLC0415 - needs Django

    return Application(django, threads=settings.APP_CONFIG.threads)


application = _create_application()
