from django.urls import path, re_path
from drf_spectacular.views import SpectacularJSONAPIView

from memoryhub.api import conflicts, decisions, labels, ledger, policies, secrets, timetravel, views

app_name = "api"

urlpatterns = [
    path("memories", views.MemoriesView.as_view(), name="memories"),
    path("memories/<uuid:memory_id>", views.MemoryView.as_view(), name="memory"),
    path("memories/<uuid:memory_id>/versions", views.VersionsView.as_view(), name="memory-versions"),
    path("memories/<uuid:memory_id>/labels", labels.LabelsOfOne.as_view(), name="memory-labels"),
    path("memories/labels", labels.LabelsOfMany.as_view(), name="labels"),
    path("memories/secrets", secrets.SecretsView.as_view(), name="memory-secrets"),
    path("facets", views.FacetsView.as_view(), name="facets"),
    path("histogram", views.HistogramView.as_view(), name="histogram"),
    path("timetravel", timetravel.TimeTravelView.as_view(), name="timetravel"),
    path("diff", timetravel.DiffView.as_view(), name="diff"),
    path("conflicts", conflicts.ConflictsView.as_view(), name="conflicts"),
    path("conflicts/<str:conflict_id>", conflicts.ConflictView.as_view(), name="conflict"),
    path("conflicts/<str:conflict_id>/decisions", conflicts.DecideView.as_view(), name="conflict-decisions"),
    path("conflicts/<str:conflict_id>/claim", conflicts.ClaimView.as_view(), name="conflict-claim"),
    path("decisions", decisions.DecisionsView.as_view(), name="decisions"),
    path("decisions/export", decisions.ExportView.as_view(), name="decisions-export"),
    path("decisions/<uuid:decision_id>", decisions.DecisionView.as_view(), name="decision"),
    path("decisions/<uuid:decision_id>/undo", decisions.UndoOfOne.as_view(), name="decision-undo"),
    path("policies", policies.PoliciesView.as_view(), name="policies"),
    path("policies/<uuid:policy_id>", policies.PolicyOfId.as_view(), name="policy"),
    path("policies/<uuid:policy_id>/dry-run", policies.DryRunView.as_view(), name="policy-dry-run"),
    path("policies/<uuid:policy_id>/runs", policies.StartView.as_view(), name="policy-run"),
    path("policy-runs", policies.RunsView.as_view(), name="policy-runs"),
    path("policy-runs/<uuid:run_id>", policies.RunView.as_view(), name="policy-run-of-id"),
    path("policy-runs/<uuid:run_id>/go", policies.GoOnView.as_view(), name="policy-run-go"),
    path("policy-runs/<uuid:run_id>/undo", policies.UndoView.as_view(), name="policy-run-undo"),
    path("replay", timetravel.ReplayView.as_view(), name="replay"),
    path("ledger", ledger.LedgerView.as_view(), name="ledger"),
    path("status", views.StatusView.as_view(), name="status"),
    path("schema", SpectacularJSONAPIView.as_view(), name="schema"),
    re_path(r"^(?P<rest>.*)$", views.unknown_route),
]
