from django.apps import AppConfig
from django.core.signals import request_started

from memoryhub.ops.connections import close_read_only_connection


class OpsConfig(AppConfig):
    name = "memoryhub.ops"
    label = "ops"

    def ready(self) -> None:
        request_started.connect(close_read_only_connection)
