from django.apps import AppConfig
from django.core import checks
from django.core.signals import request_started

from memoryhub.language.checks import check_embedder
from memoryhub.operations.connections import close_read_only_connection


class OperationsConfig(AppConfig):
    name = "memoryhub.operations"

    def ready(self) -> None:
        request_started.connect(close_read_only_connection)
        checks.register(check_embedder, "memoryhub")
