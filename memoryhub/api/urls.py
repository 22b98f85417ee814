from django.urls import path, re_path
from drf_spectacular.views import SpectacularJSONAPIView

from memoryhub.api.native import (
    audit_log,
    classify,
    conflicts,
    decisions,
    memories,
    policies,
    search,
    secret_search,
    time_travel,
)

app_name = "api"

urlpatterns = [
    path("memories", memories.MemoriesView.as_view(), name="memory-list"),
    path("memories/<uuid:memory_id>", memories.MemoryView.as_view(), name="memory-detail"),
    path("memories/<uuid:memory_id>/versions", memories.MemoryVersionsView.as_view(), name="memory-versions"),
    path("memories/<uuid:memory_id>/classify", classify.MemoryClassifyView.as_view(), name="memory-classify"),
    path("memories/<uuid:memory_id>/similar", search.SimilarView.as_view(), name="memory-similar"),
    path("memories/classify", classify.BulkClassifyView.as_view(), name="memories-classify"),
    path("memories/secrets", secret_search.SecretSearchView.as_view(), name="secret-search"),
    path("search", search.SearchView.as_view(), name="search"),
    path("facets", memories.FacetsView.as_view(), name="facets"),
    path("histogram", memories.HistogramView.as_view(), name="histogram"),
    path("timetravel", time_travel.TimeTravelView.as_view(), name="timetravel"),
    path("diff", time_travel.DiffView.as_view(), name="diff"),
    path("conflicts", conflicts.ConflictsView.as_view(), name="conflict-list"),
    path("conflicts/<str:conflict_id>", conflicts.ConflictView.as_view(), name="conflict-detail"),
    path("conflicts/<str:conflict_id>/decisions", conflicts.ConflictResolveView.as_view(), name="conflict-resolve"),
    path("conflicts/<str:conflict_id>/claim", conflicts.ConflictClaimView.as_view(), name="conflict-claim"),
    path("decisions", decisions.DecisionsView.as_view(), name="decision-list"),
    path("decisions/export", decisions.DecisionExportView.as_view(), name="decision-export"),
    path("decisions/<uuid:decision_id>", decisions.DecisionView.as_view(), name="decision-detail"),
    path("decisions/<uuid:decision_id>/undo", decisions.DecisionUndoView.as_view(), name="decision-undo"),
    path("policies", policies.PoliciesView.as_view(), name="policy-list"),
    path("policies/<uuid:policy_id>", policies.PolicyDetailView.as_view(), name="policy-detail"),
    path("policies/<uuid:policy_id>/dry-run", policies.DryRunView.as_view(), name="policy-dry-run"),
    path("policies/<uuid:policy_id>/runs", policies.RunCreateView.as_view(), name="policy-run-create"),
    path("policy-runs", policies.RunsView.as_view(), name="policy-run-list"),
    path("policy-runs/<uuid:run_id>", policies.RunView.as_view(), name="policy-run-detail"),
    path("policy-runs/<uuid:run_id>/advance", policies.RunAdvanceView.as_view(), name="policy-run-advance"),
    path("policy-runs/<uuid:run_id>/undo", policies.RunUndoView.as_view(), name="policy-run-undo"),
    path("replay", time_travel.ReplayView.as_view(), name="replay"),
    path("audit", audit_log.AuditLogView.as_view(), name="audit-log"),
    path("status", memories.StatusView.as_view(), name="status"),
    path("schema", SpectacularJSONAPIView.as_view(), name="schema"),
    re_path(r"^(?P<rest>.*)$", memories.unknown_route),
]
