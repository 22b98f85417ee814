"""A pytest plugin: of a mutant, the first example that fails is enough; nobody reads it, so it need not be short."""

from hypothesis import Phase, settings


def pytest_collection() -> None:
    # After conftest, which has a profile of its own, and before the tests, which take theirs from what is loaded.
    settings.register_profile(
        "fast",
        parent=settings.get_profile("memoryhub"),
        phases=[Phase.explicit, Phase.generate],
        derandomize=True,
        database=None,
    )
    settings.load_profile("fast")
