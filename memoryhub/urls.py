from django.contrib import admin
from django.urls import include, path

from inspector.views.api_reference import api_docs
from memoryhub.api.native.memories import ReadyView
from memoryhub.api.native.metrics import MetricsView

urlpatterns = [
    path("api/docs", api_docs, name="docs"),
    path("api/", include("memoryhub.api.urls")),
    path("ready", ReadyView.as_view(), name="ready"),
    path("metrics", MetricsView.as_view(), name="metrics"),
    path("admin/", admin.site.urls),
    path("", include("inspector.urls")),
]

handler400 = "inspector.error_pages.render_bad_request"
handler403 = "inspector.error_pages.render_forbidden"
handler404 = "inspector.error_pages.render_not_found"
handler500 = "inspector.error_pages.render_server_error"
