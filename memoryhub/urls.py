from django.contrib import admin
from django.urls import include, path

from inspector.views.docs import docs
from memoryhub.api.views import ReadyView

urlpatterns = [
    path("api/docs", docs, name="docs"),
    path("api/", include("memoryhub.api.urls")),
    path("ready", ReadyView.as_view(), name="ready"),
    path("admin/", admin.site.urls),
    path("", include("inspector.urls")),
]

handler400 = "inspector.views.errors.bad_request"
handler403 = "inspector.views.errors.forbidden"
handler404 = "inspector.views.errors.not_found"
handler500 = "inspector.views.errors.server_error"
