from django.apps import AppConfig


class AccessLogConfig(AppConfig):
    name = "memoryhub.access_log"
    verbose_name = "Access log"
