from django.apps import AppConfig


class FirewallConfig(AppConfig):
    name = "memoryhub.firewall"
    label = "firewall"
    verbose_name = "Access control"
