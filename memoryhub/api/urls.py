from django.urls import path, re_path
from drf_spectacular.views import SpectacularJSONAPIView

from memoryhub.api import conflicts, labels, ledger, timetravel, views

app_name = "api"

urlpatterns = [
    path("memories", views.MemoriesView.as_view(), name="memories"),
    path("memories/<uuid:memory_id>", views.MemoryView.as_view(), name="memory"),
    path("memories/<uuid:memory_id>/versions", views.VersionsView.as_view(), name="memory-versions"),
    path("memories/<uuid:memory_id>/labels", labels.LabelsOfOne.as_view(), name="memory-labels"),
    path("memories/labels", labels.LabelsOfMany.as_view(), name="labels"),
    path("facets", views.FacetsView.as_view(), name="facets"),
    path("histogram", views.HistogramView.as_view(), name="histogram"),
    path("timetravel", timetravel.TimeTravelView.as_view(), name="timetravel"),
    path("diff", timetravel.DiffView.as_view(), name="diff"),
    path("conflicts", conflicts.ConflictsView.as_view(), name="conflicts"),
    path("conflicts/<str:conflict_id>", conflicts.ConflictView.as_view(), name="conflict"),
    path("replay", timetravel.ReplayView.as_view(), name="replay"),
    path("ledger", ledger.LedgerView.as_view(), name="ledger"),
    path("status", views.StatusView.as_view(), name="status"),
    path("schema", SpectacularJSONAPIView.as_view(), name="schema"),
    re_path(r"^(?P<rest>.*)$", views.unknown_route),
]
