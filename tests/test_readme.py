"""The README and the pages are correct: their console sessions, code, dependencies, links, files and commands."""

import ast
import asyncio
import inspect
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kit
from tests.live import Server, serving

pytestmark = pytest.mark.untraced

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()
FIRST_STEPS = (PROJECT / "docs/first-steps.md").read_text()
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("deploy/*.md")])
TEACHING = ("invoice", "orders/")
"""Parts of the names of files that do not exist, because a page explains how to write them."""
VARYING = re.compile(r'(\d{4}-\d\d-\d\dT[\d:.]+Z|"request_id":"[0-9a-f]{32}")')


def session(kind: str) -> list[tuple[str, list[str]]]:
    """Return the commands of the console blocks of this kind, each with its printed lines."""
    blocks = re.findall(rf"```console{kind}\n(.*?)```", FIRST_STEPS, re.DOTALL)
    commands = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part.strip()]
    return [(first, steady(rest)) for first, _, rest in (command.partition("\n") for command in commands)]


def steady(output: str) -> list[str]:
    """Return the lines of an output, without the parts that vary."""
    return [VARYING.sub("…", line).strip() for line in output.splitlines() if line.strip()]


def printed_by(program: str, *arguments: str) -> str:
    command = [shutil.which(program) or program, *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, check=True, text=True).stdout


async def answers_as_shown(kind: str, server: Server) -> None:
    variables = ""
    for command, expected in session(kind):
        here = variables + command.replace("http://127.0.0.1:8000", server.url)
        output = steady(await asyncio.to_thread(printed_by, "bash", "-c", here))
        shown = [line for line in output if line in expected] if " -i " in command else output
        assert shown == expected, command
        variables += f"{here}; " if re.match(r"\w+=", command) else ""


@pytest.mark.slow
async def test_the_console_session_matches_the_service(new_database: Any, log_file: Path) -> None:
    with serving(await new_database(), log_file, DEMO_DATA="true") as server:
        await answers_as_shown("", server)


@pytest.mark.slow
async def test_the_console_session_in_production_matches_the_service(new_database: Any, log_file: Path) -> None:
    settings = {"ENVIRONMENT": "production", "SECRET_KEY": "0123456789abcdef" * 2, "DATABASE_URL": await new_database()}
    root = {"SUPERUSER_USERNAME": "root", "SUPERUSER_EMAIL": "root@example.com", "SUPERUSER_PASSWORD": "as you like"}
    for script in ("-m alembic upgrade head", "superuser.py"):
        command = [sys.executable, *script.split()]
        await asyncio.to_thread(subprocess.run, command, cwd=PROJECT, env=settings | root, check=True)
    with serving(settings.pop("DATABASE_URL"), log_file, **settings) as server:
        await answers_as_shown(" production", server)


def test_every_dependency_has_a_purpose() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    reasons = (PROJECT / "docs/dependencies.md").read_text()
    assert [name for name in wanted if re.split("[>;[ ]", name)[0] not in reasons] == []


def test_the_code_of_the_readme_is_that_of_the_resource() -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    lines = iter((PROJECT / "heroes/hero.py").read_text().splitlines())
    assert [line for line in shown.splitlines() if line and line not in lines] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_and_every_named_command_and_file_exists(page: Path) -> None:
    text = page.read_text()
    makefiles = [PROJECT / "Makefile", *PROJECT.glob("*/targets.mk"), *PROJECT.glob("tests/*/targets.mk")]
    targets = {name for file in makefiles for name in re.findall(r"^([a-z-]+):", file.read_text(), re.MULTILINE)}
    commands = re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)
    links = [path for path in re.findall(r"\]\(([\w/.-]+)(?:#[\w-]+)?\)", text) if path != "/docs"]
    files = [path for path in re.findall(r"`([a-z_/]+(?:\.py|/))`", text) if not path.startswith("/")]
    missing = [path for path in links if not (page.parent / path).exists()]
    missing += [path for path in files if not (PROJECT / path).exists()]
    assert set(commands) - targets == set()
    assert [path for path in missing if not any(word in path for word in TEACHING)] == []


def test_the_index_leads_to_every_page() -> None:
    index = (PROJECT / "docs/README.md").read_text()
    pages = {path.name for path in PROJECT.glob("docs/*.md")} - {"README.md"}
    assert pages - set(re.findall(r"\]\(([\w-]+\.md)\)", index)) == set()


def test_make_alone_prints_every_target() -> None:
    printed = printed_by("make", "-s")
    wanted = ("run", "test", "check", "format", "migrate", "superuser", "migration", "lock", "clean")
    assert [name for name in wanted if f"make {name} " not in printed] == []


@pytest.mark.parametrize(
    "page", ["seeds", "reliability", "permissions", "security", "request", "fastapi-and-sqlalchemy"]
)
def test_every_file_and_test_named_in_the_docs_exists(page: str) -> None:
    rows = (PROJECT / f"docs/{page}.md").read_text()
    tests = "".join(path.read_text() for path in (PROJECT / "tests").rglob("*.py"))
    assert [name for name in re.findall(r"`(test_\w+)`", rows) if f"def {name}(" not in tests] == []
    assert [name for name in re.findall(r"`([\w/]+(?:\.py|/))`", rows) if not (PROJECT / name).exists()] == []


def calls_in(page: Path) -> Iterator[ast.Call]:
    """Yield the calls of kit functions in the code of a page, except calls with omitted arguments (`…`)."""
    for code in re.findall(r"`([^`\n]+)`", page.read_text()):
        try:
            tree = ast.parse(code)
        except SyntaxError:  # a name, a part of a statement, or another language
            continue
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and "…" not in ast.unparse(node)]
        yield from (call for call in calls if inspect.isfunction(getattr(kit, ast.unparse(call.func), None)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_calls_of_the_kit_have_the_arguments_that_it_takes(page: Path) -> None:
    for call in calls_in(page):
        keywords: dict[str, Any] = {word.arg: word.value for word in call.keywords if word.arg}
        inspect.signature(getattr(kit, ast.unparse(call.func))).bind(*call.args, **keywords)
