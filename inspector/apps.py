from django.apps import AppConfig
from django.contrib.admin import apps as admin


class InspectorConfig(AppConfig):
    name = "inspector"
    default = True


class AdminConfig(admin.AdminConfig):
    default = False
    default_site = "inspector.admin_site.MemoryhubAdminSite"
