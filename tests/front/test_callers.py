"""Who shares threads with whom."""

from typing import Any

import pytest

from memoryhub.core.client_address import TrustedProxies
from memoryhub.front import callers
from memoryhub.front.callers import UNVERIFIED_GROUP, CallerRegistry

pytestmark = pytest.mark.unit


def make_environ(url: str = "192.0.2.1", **headers: Any) -> dict[str, Any]:
    return {"REMOTE_ADDR": url, **headers}


KEY_HEADER = {"HTTP_AUTHORIZATION": "Bearer good"}
SESSION_HEADER = {"HTTP_COOKIE": "theme=dark; sessionid=abc; csrftoken=x"}


@pytest.mark.parametrize("credential", [KEY_HEADER, SESSION_HEADER])
def test_a_good_credential_is_a_caller_of_its_own_from_wherever_it_is_sent(credential):
    caller_registry = CallerRegistry()
    assert caller_registry.get_caller(make_environ(**credential)).group == UNVERIFIED_GROUP
    assert caller_registry.needs_verification(make_environ(**credential))

    caller_registry.remember_credential(make_environ(**credential), "key:1")

    assert not caller_registry.needs_verification(make_environ(**credential))
    caller = caller_registry.get_caller(make_environ(**credential))
    assert caller.group == caller.name != UNVERIFIED_GROUP
    assert caller_registry.get_caller(make_environ("192.0.2.2", **credential)) == caller


def test_one_key_and_one_user_have_one_share_however_often_they_are_written_or_sign_in():
    caller_registry = CallerRegistry()
    spellings = [f"Bearer{' ' * count}good" for count in range(1, 5)]
    sessions = [make_environ(HTTP_COOKIE=f"sessionid={index}") for index in range(3)]

    caller_registry.remember_credential(make_environ(HTTP_AUTHORIZATION=spellings[0]), "key:1")
    for environ in sessions:
        caller_registry.remember_credential(environ, "user:1")

    assert len({caller_registry.get_caller(make_environ(HTTP_AUTHORIZATION=spelling)) for spelling in spellings}) == 1
    assert len({caller_registry.get_caller(environ) for environ in sessions}) == 1


def test_a_client_that_makes_up_credentials_shares_with_all_strangers():
    caller_registry = CallerRegistry()
    caller_registry.remember_credential(make_environ(**KEY_HEADER), "key:1")
    forged_environs = [make_environ(HTTP_AUTHORIZATION=f"Bearer {index}") for index in range(3)]

    assert {caller_registry.get_caller(environ) for environ in forged_environs} == {
        caller_registry.get_caller(make_environ())
    }
    assert caller_registry.get_caller(make_environ("192.0.2.2")) != caller_registry.get_caller(make_environ())
    assert (
        caller_registry.get_caller(make_environ("192.0.2.2")).group == caller_registry.get_caller(make_environ()).group
    )


def test_a_credential_that_is_refused_by_now_is_forgotten():
    caller_registry = CallerRegistry()
    caller_registry.remember_credential(make_environ(**KEY_HEADER), "key:1")

    caller_registry.forget_credential(make_environ(**KEY_HEADER))

    assert caller_registry.get_caller(make_environ(**KEY_HEADER)).group == UNVERIFIED_GROUP


def test_those_seen_last_are_remembered(monkeypatch):
    monkeypatch.setattr(callers, "MAX_VERIFIED_CREDENTIALS", 2)
    caller_registry = CallerRegistry()
    keys = [make_environ(HTTP_AUTHORIZATION=f"Bearer {index}") for index in range(3)]
    for index in (0, 1):
        caller_registry.remember_credential(keys[index], f"key:{index}")
    caller_registry.get_caller(keys[0])
    caller_registry.remember_credential(keys[2], "key:2")

    assert [caller_registry.get_caller(key).group == UNVERIFIED_GROUP for key in keys] == [False, True, False]


@pytest.mark.parametrize("cookie", ["", "\x00=;;; sessionid", "theme=dark"])
def test_a_request_without_a_session_has_nothing_to_verify(cookie):
    assert not CallerRegistry().needs_verification(make_environ(HTTP_COOKIE=cookie))
    assert not CallerRegistry().needs_verification(make_environ())


def test_strangers_behind_a_trusted_proxy_take_turns_as_those_whom_it_names(settings):
    settings.APP_CONFIG = settings.APP_CONFIG.model_copy(update={"trusted_proxies": TrustedProxies(count=1)})
    caller_registry = CallerRegistry()

    assert caller_registry.get_caller(make_environ(HTTP_X_FORWARDED_FOR="10.0.0.1")) != caller_registry.get_caller(
        make_environ(HTTP_X_FORWARDED_FOR="10.0.0.2")
    )
    assert caller_registry.get_caller(
        make_environ(HTTP_X_FORWARDED_FOR="10.0.0.1, 10.0.0.2")
    ) == caller_registry.get_caller(make_environ(HTTP_X_FORWARDED_FOR="10.0.0.2"))
