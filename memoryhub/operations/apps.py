from django.apps import AppConfig
from django.core.signals import request_started

from memoryhub.operations.connections import close_read_only_connection


class OperationsConfig(AppConfig):
    name = "memoryhub.operations"

    def ready(self) -> None:
        request_started.connect(close_read_only_connection)
