"""The kit as a wheel: it has the version and the dependencies of the kit, and a service runs against it."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

import kit
from kit.scaffolding.project_files import files_of
from tests.live import PROJECT, serving
from tests.test_new_service import copied
from tests.waiting import TIMEOUT_SECONDS

pytestmark = pytest.mark.slow

OF_THE_SERVICE = ("pydantic-settings", "watchfiles")
WHEEL = tomllib.loads((PROJECT / "kit/pyproject.toml").read_text())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a folder with what the wheel installs."""
    folder = copied(tmp_path_factory.mktemp("wheel") / "source")
    command = ["make", "wheel", f"BIN={Path(sys.executable).parent}", "--assume-old=.venv/dev"]
    subprocess.run(command, cwd=folder, check=True, env={"PATH": "/usr/bin:/bin", "HOME": str(folder)})
    (wheel,) = (folder / "build").glob("*.whl")
    assert wheel.name == f"service_kit-{kit.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def service(installed: Path, tmp_path: Path) -> Path:
    """Provide a service without a folder `kit`."""
    folder = copied(tmp_path / "service")
    (folder / "kit").rename(tmp_path / "unused")
    return folder


def test_the_wheel_has_all_files_of_the_kit(installed: Path) -> None:
    names = {name for name in files_of(PROJECT) if name.startswith("kit/")} - {"kit/pyproject.toml"}
    assert len(names) > 200
    assert [name for name in names if not (installed / name).exists()] == []


async def test_a_resource_runs_against_the_wheel(
    installed: Path, service: Path, new_database: Any, log_file: Path
) -> None:
    url = await new_database()
    with serving(url, log_file, project=service, PYTHONPATH=str(installed)) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT_SECONDS) as client:
            answer = await client.post("/teams/", json={"name": "Z-Force", "headquarters": "Bar"})
    assert (answer.status_code, answer.json()["id"]) == (201, 1), answer.text


def test_the_version_is_the_same_everywhere_and_in_the_changelog() -> None:
    assert WHEEL["project"]["version"] == kit.__version__
    assert f"## [{kit.__version__}] - " in (PROJECT / "kit/CHANGELOG.md").read_text()


def test_the_wheel_needs_the_packages_that_the_project_lists() -> None:
    listed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert set(WHEEL["project"]["dependencies"]) == {name for name in listed if not name.startswith(OF_THE_SERVICE)}
    sources = "".join(path.read_text() for path in (PROJECT / "kit").rglob("*.py"))
    assert not re.search("pydantic_settings", sources)
