"""Generated clients: linters accept the document, and clients of two languages go through the service by their types.

`make test-clients` runs these tests: they need Node.js, and packages of npm and PyPI in environments of their own.
"""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kit.database.migrations import upgrade
from main import app
from tests.application import KEY, settings_for
from tests.live import PROJECT, Server, serving

HERE = Path(__file__).parent
NODE, PYTHON = HERE / "node_modules/.bin", PROJECT / ".venv-clients/bin"
STEPS = [
    "logged in",
    "created",
    "listed, and followed Link",
    "updated once, and refused the second time",
    "created the valid ones of many",
    "deleted",
]
pytestmark = pytest.mark.skipif(
    not (NODE.exists() and PYTHON.exists()), reason="the generators are not installed: make test-clients"
)


def run(*command: str | Path, **environment: str) -> str:
    """Run a command, and return its output. Raises an AssertionError with the output if the command fails."""
    path = f"{NODE}:{PYTHON}:{os.environ['PATH']}"
    quiet = {"PATH": path, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}
    ended = subprocess.run(
        list(map(str, command)), cwd=HERE, env=os.environ | quiet | environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, f"{command}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def build() -> Path:
    """Provide an empty folder for what is generated, with the document."""
    folder = PROJECT / "build/clients"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "openapi.json").write_text(json.dumps(app.openapi()))
    return folder


@pytest.fixture
async def server(new_database: Any, log_file: Path) -> AsyncIterator[Server]:
    """Provide the service as in production, without users."""
    url = await new_database()
    await upgrade(settings_for(url).database)
    with serving(url, log_file, ENVIRONMENT="production", SECRET_KEY=KEY) as server:
        yield server


def test_spectral_finds_nothing(build: Path) -> None:
    found = run("spectral", "lint", build / "openapi.json", "-r", "spectral.yaml", "--fail-severity", "hint")
    assert "No results with a severity of" in found


def test_redocly_finds_nothing(build: Path) -> None:
    found = run("redocly", "lint", build / "openapi.json", "--config", "redocly.yaml")
    assert "Your API description is valid" in found
    assert "warning" not in found.replace("Deprecation warning", "")


@pytest.fixture(scope="module")
def typescript(build: Path) -> Path:
    """Provide the flow through the client in TypeScript, compiled by strict rules."""
    generated = run("openapi-ts", "-i", build / "openapi.json", "-o", build / "typescript", "--no-log-file")
    assert "rror" not in generated
    run("tsc", "-p", ".")
    return build / "javascript/tests/generated_clients/flow.js"


@pytest.mark.usefixtures("anyio_backend")  # for the fixtures, which are asynchronous
def test_a_client_in_typescript_goes_through_the_service(typescript: Path, server: Server) -> None:
    assert run("node", typescript, server.url).splitlines() == STEPS


@pytest.fixture(scope="module")
def python(build: Path) -> str:
    """Provide the folder of the client in Python, whose flow has strict types."""
    folder = build / "python"
    folder.mkdir()
    options: list[str | Path] = [
        "--meta",
        "none",
        "--config",
        "python-client.yaml",
        "--output-path",
        folder / "heroes_client",
    ]
    generated = run("openapi-python-client", "generate", "--path", build / "openapi.json", *options)
    assert "arning" not in generated
    run("mypy", "--strict", "--cache-dir", build / "mypy", "--config-file=", "flow.py", MYPYPATH=str(folder))
    return str(folder)


def test_every_module_of_a_client_in_python_can_be_imported(python: str) -> None:
    modules = "pkgutil.walk_packages(heroes_client.__path__, 'heroes_client.')"
    code = f"import heroes_client, importlib, pkgutil; [importlib.import_module(each.name) for each in {modules}]"
    run(PYTHON / "python", "-c", code, PYTHONPATH=python)


@pytest.mark.usefixtures("anyio_backend")
def test_a_client_in_python_goes_through_the_service(python: str, server: Server) -> None:
    assert run(PYTHON / "python", "flow.py", server.url, PYTHONPATH=python).splitlines() == STEPS
