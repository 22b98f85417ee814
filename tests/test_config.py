import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from memoryhub import config
from memoryhub.config import Config, home_problem

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


def test_a_signing_key_that_was_cut_short_is_not_signed_with(tmp_path):
    (tmp_path / "secret_key").write_text("")

    with pytest.raises(SystemExit, match="secret_key is cut short: remove it"):
        Config(home=tmp_path).signing_key()


PROBLEMS = [
    (errno.EROFS, "its file system is read-only"),
    (errno.ENOSPC, "its disk is full"),
    (errno.EDQUOT, "its disk is full"),
    (errno.EACCES, "lacks the permission"),
    (errno.EPERM, "lacks the permission"),
    (errno.EEXIST, "a file is in the place of a directory"),
    (errno.ENOTDIR, "a file is in the place of a directory"),
    (errno.EIO, "Input/output error"),
]


@pytest.mark.parametrize(("number", "reason"), PROBLEMS)
def test_each_reason_why_a_home_cannot_be_used_has_its_sentence(number, reason):
    text = home_problem(Path("/srv/hub"), OSError(number, os.strerror(number), "/srv/hub/secret_key"))

    assert text.startswith("MEMORYHUB_HOME=/srv/hub cannot be used: ")
    assert reason in text
    assert "(/srv/hub/secret_key)" in text


USES_A_HOME = """
import os, sys
from pathlib import Path
from memoryhub.config import Config
from memoryhub.ops import embedded

if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
config = Config(home=sys.argv[1], database_url=None)
if sys.argv[2] == "signing_key":
    config.signing_key()
else:
    with embedded.running(config):
        pass
"""


@pytest.mark.parametrize("use", ["signing_key", "running"])
def test_a_home_without_permission_is_one_sentence(use):
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", USES_A_HOME, str(folder / "home"), use], capture_output=True, text=True, check=False
        )
    finally:
        folder.rmdir()

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"MEMORYHUB_HOME={folder}/home cannot be used: user " in done.stderr


@pytest.mark.parametrize("home", ["file", "file/below"])
@pytest.mark.parametrize("command", ["serve", "export_memories", "check"])
def test_a_home_that_is_a_file_is_one_sentence_for_every_command(tmp_path, home, command):
    (tmp_path / "file").write_text("precious")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MEMORYHUB_", "DATABASE_"))}
    done = subprocess.run(
        [sys.executable, "manage.py", command],
        env=variables | {"MEMORYHUB_HOME": str(tmp_path / home)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "a file is in the place of a directory" in done.stderr


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
