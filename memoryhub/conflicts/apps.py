from django.apps import AppConfig
from django.core import checks

from memoryhub.language.checks import check_nli_model


class ConflictsConfig(AppConfig):
    name = "memoryhub.conflicts"

    def ready(self) -> None:
        checks.register(check_nli_model, "memoryhub")
