from django.urls import path

from inspector.views import diff, labels, ledger, memories, replay, session, subjects, time, view_as

app_name = "inspector"
urlpatterns = [
    path("", memories.memories, name="memories"),
    path("memories", memories.memories, name="memories-list"),
    path("memories/<uuid:memory_id>", memories.memory, name="memory"),
    path("memories/<uuid:memory_id>/reveal", memories.reveal, name="memory-reveal"),
    path("memories/<uuid:memory_id>/labels", labels.classify_one, name="memory-labels"),
    path("subjects/<path:subject>", subjects.subject, name="subject"),
    path("time", time.time, name="time"),
    path("replay", replay.replay, name="replay"),
    path("diff", diff.diff, name="diff"),
    path("labels", labels.classify_many, name="labels"),
    path("labels/undo", labels.undo, name="labels-undo"),
    path("ledger", ledger.ledger, name="ledger"),
    path("ledger/principals/<path:name>", ledger.principal, name="ledger-principal"),
    path("sign-in", session.sign_in, name="sign-in"),
    path("sign-out", session.sign_out, name="sign-out"),
    path("theme", session.theme, name="theme"),
    path("view-as", view_as.view_as, name="view-as"),
    path("view-as/stop", view_as.stop, name="view-as-stop"),
    path("help", session.help_page, name="help"),
]
