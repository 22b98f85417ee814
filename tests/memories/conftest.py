"""The layers of protection that tests of classification run behind."""

from contextlib import nullcontext

import pytest

from memoryhub.firewall import rls


@pytest.fixture(params=[True, False], ids=["behind both walls", "behind the first wall alone"])
def protection_layers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(rls, "as_reader", lambda _: nullcontext())
