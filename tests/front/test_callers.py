"""Who shares threads with whom."""

from typing import Any

import pytest

from memoryhub.core.client_address import TrustedProxies
from memoryhub.front import callers
from memoryhub.front.callers import STRANGERS, Callers


def sent(address: str = "192.0.2.1", **headers: Any) -> dict[str, Any]:
    return {"REMOTE_ADDR": address, **headers}


KEY = {"HTTP_AUTHORIZATION": "Bearer good"}
SESSION = {"HTTP_COOKIE": "theme=dark; sessionid=abc; csrftoken=x"}


@pytest.mark.parametrize("credential", [KEY, SESSION])
def test_a_good_credential_is_a_caller_of_its_own_from_wherever_it_is_sent(credential):
    known = Callers()
    assert known.of(sent(**credential)).group == STRANGERS
    assert known.needs_verification(sent(**credential))

    known.remember(sent(**credential))

    assert not known.needs_verification(sent(**credential))
    caller = known.of(sent(**credential))
    assert caller.group == caller.name != STRANGERS
    assert known.of(sent("192.0.2.2", **credential)) == caller


def test_a_client_that_makes_up_credentials_shares_with_all_strangers():
    known = Callers()
    known.remember(sent(**KEY))
    made_up = [sent(HTTP_AUTHORIZATION=f"Bearer {number}") for number in range(3)]

    assert {known.of(each) for each in made_up} == {known.of(sent())}
    assert known.of(sent("192.0.2.2")) != known.of(sent())
    assert known.of(sent("192.0.2.2")).group == known.of(sent()).group


def test_a_credential_that_is_refused_by_now_is_forgotten():
    known = Callers()
    known.remember(sent(**KEY))

    known.forget(sent(**KEY))

    assert known.of(sent(**KEY)).group == STRANGERS


def test_those_seen_last_are_remembered(monkeypatch):
    monkeypatch.setattr(callers, "MAX_KNOWN", 2)
    known = Callers()
    keys = [sent(HTTP_AUTHORIZATION=f"Bearer {number}") for number in range(3)]
    for key in (keys[0], keys[1]):
        known.remember(key)
    known.of(keys[0])
    known.remember(keys[2])

    assert [known.of(key).group == STRANGERS for key in keys] == [False, True, False]


@pytest.mark.parametrize("cookie", ["", "\x00=;;; sessionid", "theme=dark"])
def test_a_request_without_a_session_has_nothing_to_verify(cookie):
    assert not Callers().needs_verification(sent(HTTP_COOKIE=cookie))
    assert not Callers().needs_verification(sent())


def test_strangers_behind_a_trusted_proxy_take_turns_as_those_whom_it_names(settings):
    settings.MEMORYHUB = settings.MEMORYHUB.model_copy(update={"trusted_proxies": TrustedProxies(count=1)})
    known = Callers()

    assert known.of(sent(HTTP_X_FORWARDED_FOR="10.0.0.1")) != known.of(sent(HTTP_X_FORWARDED_FOR="10.0.0.2"))
    assert known.of(sent(HTTP_X_FORWARDED_FOR="10.0.0.1, 10.0.0.2")) == known.of(sent(HTTP_X_FORWARDED_FOR="10.0.0.2"))
