from django.urls import path

from inspector.views import memories, session

app_name = "inspector"
urlpatterns = [
    path("", memories.memories, name="memories"),
    path("memories", memories.memories, name="memories-list"),
    path("memories/<uuid:memory_id>", memories.memory, name="memory"),
    path("sign-in", session.sign_in, name="sign-in"),
    path("sign-out", session.sign_out, name="sign-out"),
    path("theme", session.theme, name="theme"),
    path("help", session.help_page, name="help"),
]
