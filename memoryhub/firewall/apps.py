from django.apps import AppConfig


class FirewallConfig(AppConfig):
    name = "memoryhub.firewall"
    verbose_name = "Access control"
