"""XS-11: what is a secret, and what is not."""

import hashlib
import json
import uuid
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryhub.core.secrets import MASK, mask_secrets
from tests.core.slow_texts import SLOW_TEXTS, assert_linear_time

pytestmark = pytest.mark.unit

ENCODED = b64encode(hashlib.sha512(b"x").digest() * 3).decode()


def make_secret(prefix: str, length: int = 40) -> str:
    """A secret of nobody's. Put together here, so that no scanner takes this file for a leak."""
    return prefix + ("a1B2c3D4e5" * 20)[:length]


PEM = f"-----BEGIN {'RSA '}PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n{ENCODED}\n-----END RSA PRIVATE KEY-----"
SECRETS = [
    ("AKIA" + "IOSFODNN7EXAMPLE", "AKIA"),
    ("ASIA" + "IOSFODNN7EXAMPLE", "ASIA"),
    (make_secret("sk-"), "sk-"),
    (make_secret("sk-proj-"), "sk-"),
    (make_secret("sk-ant-api03-"), "sk-"),
    (make_secret("sk_live_"), "sk_live_"),
    (make_secret("ghp_", 36), "ghp_"),
    (make_secret("gho_", 36), "gho_"),
    (make_secret("github_pat_", 82), "github_pat_"),
    (make_secret("glpat-", 20), "glpat-"),
    (make_secret("xoxb-"), "xoxb-"),
    (make_secret("AIza", 35), "AIza"),
    (make_secret("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0."), "eyJ"),
    (make_secret("mh_", 64), "mh_"),
    (PEM, "-----BEGIN RSA PRIVATE KEY-----"),
]
HARMLESS = [
    str(uuid.UUID(int=2**127 - 1)),
    hashlib.sha256(b"x").hexdigest(),
    hashlib.sha512(b"x").hexdigest(),
    ENCODED,
    make_secret("mh_", 12),
    "sk-learn-is-a-library-for-machine-learning",
    "sk-SK",
    "the AKIA prefix, sk- and ghp_ are known forms",
    "AKIA" + "IOSFODNN7EXAMPLEANDMORE",
    "eyJust a word.eyJ",
    "task-" + "a1b2c3d4e5f6a7b8c9d0",
    "xoxo-lots-of-love-to-you",
    "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----",
    "https://example.org/a?b=c#d",
    "1.2.3.4",
]


@pytest.mark.parametrize(("secret", "kind"), SECRETS, ids=[kind for _, kind in SECRETS])
def test_a_secret_is_masked_and_its_kind_stays(secret, kind):
    assert mask_secrets(secret) == kind + MASK
    assert mask_secrets(f"the key is {secret}, keep it") == f"the key is {kind}{MASK}, keep it"
    assert mask_secrets(f'key="{secret}"\nmore') == f'key="{kind}{MASK}"\nmore'


@pytest.mark.parametrize(("secret", "kind"), SECRETS, ids=[kind for _, kind in SECRETS])
def test_a_secret_in_a_document_is_masked_and_the_document_stays_one(secret, kind):
    document = {"a": [f"line\n{secret}"], f"key {secret}": "\x1f" + secret, "b": 1}

    assert json.loads(mask_secrets(json.dumps(document))) == {
        "a": [f"line\n{kind}{MASK}"],
        f"key {kind}{MASK}": f"\x1f{kind}{MASK}",
        "b": 1,
    }


@pytest.mark.parametrize(
    "disguise",
    [
        "\u200b".join,
        "\u00ad".join,
        "\U000e0041".join,
        lambda text: "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text),
        lambda text: "".join(chr(0xE0000 + ord(letter)) if " " <= letter <= "~" else letter for letter in text),
        lambda text: text.replace("-", "\u2011"),
    ],
    ids=["zero width", "soft hyphens", "tags between", "full width", "spelled in tags", "another hyphen"],
)
@pytest.mark.parametrize(("secret", "kind"), SECRETS[:-1], ids=[kind for _, kind in SECRETS[:-1]])
def test_a_disguised_secret_is_masked_and_what_stands_around_it_stays(secret, kind, disguise):
    masked_text = mask_secrets(f"caf\u00e9: {disguise(secret)}, keep it")

    assert masked_text == f"caf\u00e9: {disguise(kind)}{MASK}, keep it"
    assert mask_secrets(masked_text) == masked_text


def test_a_key_that_is_cut_off_is_masked_to_its_end():
    assert mask_secrets(PEM[:100]) == f"-----BEGIN RSA PRIVATE KEY-----{MASK}"
    assert mask_secrets(f"{PEM} and {PEM}").count(MASK) == 2


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_long_is_no_secret(text):
    assert mask_secrets(text) == text


@given(st.lists(st.one_of(st.sampled_from([secret for secret, _ in SECRETS]), st.text(max_size=5))).map("".join))
def test_what_is_masked_stays_masked(text):
    assert mask_secrets(mask_secrets(text)) == mask_secrets(text)


@pytest.mark.large_input
@pytest.mark.parametrize("attack", SLOW_TEXTS)
def test_ten_times_the_text_takes_about_ten_times_as_long(attack: str) -> None:
    assert_linear_time(mask_secrets, attack)
