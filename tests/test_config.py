import os
import subprocess
import sys

import pytest
from psycopg.conninfo import conninfo_to_dict

from memoryhub import config
from memoryhub.config import Config

NONSENSE = [
    ({"MEMORYHUB_PORT": "70000"}, "port"),
    ({"MEMORYHUB_PORT": "http"}, "port"),
    ({"MEMORYHUB_TIERS": " , "}, "MEMORYHUB_TIERS"),
    ({"MEMORYHUB_TIERS": "public,public"}, "MEMORYHUB_TIERS"),
    ({"MEMORYHUB_TIERS": "Public"}, "MEMORYHUB_TIERS"),
    ({"MEMORYHUB_SECRET_KEY": "short"}, "secret_key"),
    ({"DATABASE_URL": "mysql://localhost/memoryhub"}, "DATABASE_URL"),
    ({"MEMORYHUB_WORKERS": "0"}, "workers"),
    ({"MEMORYHUB_TRUSTED_PROXIES": "proxy.example"}, "trusted_proxies"),
    ({"MEMORYHUB_TRUSTED_PROXIES": "10.0.0.0/99"}, "trusted_proxies"),
]


@pytest.mark.parametrize(("variables", "named"), NONSENSE, ids=str)
def test_a_setting_that_makes_no_sense_ends_the_start_with_one_sentence(variables, named, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as stop:
        config.load()

    heading, *sentences = str(stop.value).splitlines()
    assert heading == "memoryhub cannot start with these settings:"
    assert [named in sentence for sentence in sentences] == [True]


def test_every_mistake_is_told_at_once(monkeypatch):
    monkeypatch.setenv("MEMORYHUB_PORT", "-1")
    monkeypatch.setenv("MEMORYHUB_WORKERS", "none")

    with pytest.raises(SystemExit, match=r"port.*\n.*workers"):
        config.load()


def test_the_secret_never_shows_in_the_complaint(monkeypatch):
    monkeypatch.setenv("MEMORYHUB_SECRET_KEY", "hunter2")

    with pytest.raises(SystemExit) as stop:
        config.load()

    assert "hunter2" not in str(stop.value)


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("MEMORYHUB_PORT", "")

    assert config.load().port == 8000


def test_the_signing_key_is_made_once_and_is_private(tmp_path):
    first = Config(home=tmp_path / "home").signing_key()

    assert Config(home=tmp_path / "home").signing_key() == first
    assert (tmp_path / "home" / "secret_key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["plain", "with a space", "per%cent", "quest?ion&mark#", "ümlaut", "x" * 120])
def test_any_home_has_an_address_that_leads_to_its_socket(tmp_path, name):
    settings = Config(home=tmp_path / name, database_url=None)

    assert conninfo_to_dict(settings.dsn)["host"] == str(settings.socket_dir)
    assert len(os.fsencode(settings.socket_dir / ".s.PGSQL.5432")) <= 107


def test_manage_py_says_it_without_a_traceback():
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        env=os.environ | {"MEMORYHUB_PORT": "eighty"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "port" in done.stderr
    assert "Traceback" not in done.stderr
