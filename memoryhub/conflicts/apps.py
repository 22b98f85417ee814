from django.apps import AppConfig


class ConflictsConfig(AppConfig):
    name = "memoryhub.conflicts"
    label = "conflicts"
    verbose_name = "Conflicts"
