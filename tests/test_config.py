import errno
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from memoryhub import config
from memoryhub.config import Config, describe_home_error

ROOT = Path(__file__).resolve().parents[1]
INVALID_SETTINGS = [
    ({"MEMORYHUB_PORT": "70000"}, "port"),
    ({"MEMORYHUB_PORT": "http"}, "port"),
    ({"MEMORYHUB_TIERS": " , "}, "MEMORYHUB_TIERS"),
    ({"MEMORYHUB_TIERS": "public,public"}, "MEMORYHUB_TIERS"),
    ({"MEMORYHUB_TIERS": "Public"}, "MEMORYHUB_TIERS"),
    ({"MEMORYHUB_SECRET_KEY": "short"}, "secret_key"),
    ({"DATABASE_URL": "mysql://localhost/memoryhub"}, "DATABASE_URL"),
    ({"MEMORYHUB_WORKERS": "0"}, "workers"),
    ({"MEMORYHUB_WORKER": "2"}, "worker"),
    ({"MEMORYHUB_METRICS": "on"}, "metrics"),
    ({"MEMORYHUB_TRUSTED_PROXIES": "proxy.example"}, "trusted_proxies"),
    ({"MEMORYHUB_TRUSTED_PROXIES": "10.0.0.0/99"}, "trusted_proxies"),
    ({"MEMORYHUB_EMBEDDER": "remote"}, "embedder"),
    ({"MEMORYHUB_EMBEDDER": "endpoint", "MEMORYHUB_EMBEDDER_MODEL": "m"}, "needs MEMORYHUB_EMBEDDER_URL and"),
    ({"MEMORYHUB_EMBEDDER": "endpoint", "MEMORYHUB_EMBEDDER_URL": "http://localhost/v1"}, "MEMORYHUB_EMBEDDER_MODEL"),
    ({"MEMORYHUB_EMBEDDER_URL": "http://localhost/v1"}, "MEMORYHUB_EMBEDDER_URL would need"),
    ({"MEMORYHUB_EMBEDDER_KEY": "sk-1"}, "MEMORYHUB_EMBEDDER_KEY would need MEMORYHUB_EMBEDDER=endpoint"),
    ({"MEMORYHUB_EMBEDDER": "none", "MEMORYHUB_EMBEDDER_FOLDER": "/srv/e5"}, "would need MEMORYHUB_EMBEDDER=local"),
    ({"MEMORYHUB_EMBEDDER_MODEL": "a model"}, "embedder_model"),
    ({"MEMORYHUB_EMBEDDER_MODEL": "m" * 129}, "embedder_model"),
    *(
        ({"MEMORYHUB_EMBEDDER_URL": url}, "embedder_url")
        for url in (
            "localhost:11434", "file:///etc/passwd", "http://", "http://ada:hunter2@host/v1", "http://host/v1?key=1",
            "http://host/v1#part", "http://host:99999/v1", "http://[::1/v1", "http://hö.st/v1", "http://ho st/v1",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("variables", "setting_name"), INVALID_SETTINGS, ids=str)
def test_a_setting_that_makes_no_sense_ends_the_start_with_one_sentence(variables, setting_name, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as exc_info:
        config.load_config()

    heading, *sentences = str(exc_info.value).splitlines()
    assert heading == "memoryhub cannot start with these settings:"
    assert [setting_name in sentence for sentence in sentences] == [True]


def test_every_mistake_is_reported_at_once(monkeypatch):
    monkeypatch.setenv("MEMORYHUB_PORT", "-1")
    monkeypatch.setenv("MEMORYHUB_WORKERS", "none")

    with pytest.raises(SystemExit, match=r"port.*\n.*workers"):
        config.load_config()


def test_the_secret_never_shows_in_the_complaint(monkeypatch):
    monkeypatch.setenv("MEMORYHUB_SECRET_KEY", "hunter2")

    with pytest.raises(SystemExit) as exc_info:
        config.load_config()

    assert "hunter2" not in str(exc_info.value)


@pytest.mark.parametrize("key", ["hunter2 hunter2", "hunter2\nX-Header: 1", "hünter2hunter2"])
def test_the_key_of_the_embedder_never_shows_in_the_complaint(monkeypatch, key):
    monkeypatch.setenv("MEMORYHUB_EMBEDDER_KEY", key)

    with pytest.raises(SystemExit, match="embedder_key: Value error, is not a key that a header can carry") as exc_info:
        config.load_config()

    assert "nter2" not in str(exc_info.value)
    assert "nter2" not in repr(Config(embedder="endpoint", embedder_url="http://host/v1", embedder_model="m",
        embedder_key=SecretStr("hunter2")))  # fmt: skip


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("MEMORYHUB_PORT", "")

    assert config.load_config().port == 8000


def test_the_signing_key_is_made_once_and_is_private(tmp_path):
    first = Config(home=tmp_path / "home").load_signing_key()

    assert Config(home=tmp_path / "home").load_signing_key() == first
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
        Config(home=tmp_path).load_signing_key()


HOME_PROBLEMS = [
    (errno.EROFS, "its file system is read-only"),
    (errno.ENOSPC, "its disk is full"),
    (errno.EDQUOT, "its disk is full"),
    (errno.EACCES, "lacks the permission"),
    (errno.EPERM, "lacks the permission"),
    (errno.EEXIST, "a file is in the place of a directory"),
    (errno.ENOTDIR, "a file is in the place of a directory"),
    (errno.EIO, "Input/output error"),
]


@pytest.mark.parametrize(("uid", "reason"), HOME_PROBLEMS)
def test_each_reason_why_a_home_cannot_be_used_has_its_sentence(uid, reason):
    text = describe_home_error(Path("/srv/hub"), OSError(uid, os.strerror(uid), "/srv/hub/secret_key"))

    assert text.startswith("MEMORYHUB_HOME=/srv/hub cannot be used: ")
    assert reason in text
    assert "(/srv/hub/secret_key)" in text


USE_HOME_SCRIPT = """
import os, sys
from pathlib import Path
from memoryhub.config import Config
from memoryhub.operations import embedded_postgres

if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
config = Config(home=sys.argv[1], database_url=None)
if sys.argv[2] == "signing_key":
    config.load_signing_key()
else:
    with embedded_postgres.run_server(config):
        pass
"""


@pytest.mark.parametrize("home_use", ["signing_key", "server"])
def test_a_home_without_permission_is_one_sentence(home_use):
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    try:
        process = subprocess.run(
            [sys.executable, "-c", USE_HOME_SCRIPT, str(folder / "home"), home_use],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        folder.rmdir()

    assert process.returncode == 1
    assert len(process.stderr.splitlines()) == 1
    assert f"MEMORYHUB_HOME={folder}/home cannot be used: user " in process.stderr


@pytest.mark.parametrize("home", ["file", "file/below"])
@pytest.mark.parametrize("command", ["serve", "export_memories", "check"])
def test_a_home_that_is_a_file_is_one_sentence_for_every_command(tmp_path, home, command):
    (tmp_path / "file").write_text("precious")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MEMORYHUB_", "DATABASE_"))}
    process = subprocess.run(
        [sys.executable, "manage.py", command],
        env=variables | {"MEMORYHUB_HOME": str(tmp_path / home)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 1
    assert len(process.stderr.splitlines()) == 1
    assert "a file is in the place of a directory" in process.stderr


def test_manage_py_says_it_without_a_traceback():
    process = subprocess.run(
        [sys.executable, "manage.py", "check"],
        env=os.environ | {"MEMORYHUB_PORT": "eighty"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 1
    assert "port" in process.stderr
    assert "Traceback" not in process.stderr


def test_every_setting_is_documented():
    documented = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/operations/settings.md").read_text(), re.MULTILINE))
    names = {str(field.validation_alias or f"MEMORYHUB_{name}".upper()) for name, field in Config.model_fields.items()}

    assert documented == names
