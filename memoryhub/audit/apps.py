from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "memoryhub.audit"
    verbose_name = "Audit log"
