from django.apps import AppConfig
from django.core import checks

from memoryhub.conflicts.checks import the_model_can_be_used


class ConflictsConfig(AppConfig):
    name = "memoryhub.conflicts"
    label = "conflicts"
    verbose_name = "Conflicts"

    def ready(self) -> None:
        checks.register(the_model_can_be_used, "memoryhub")
