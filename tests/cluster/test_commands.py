"""The commands of `docs/scale.md`: they start a cluster, break it, and end it."""

import re
import shutil
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.cluster import programs
from tests.cluster.__main__ import COMMANDS
from tests.cluster.programs import PROJECT

PAGE = (PROJECT / "docs/scale.md").read_text()
(BLOCK,) = re.findall(r"```sh\n(make cluster .*?)```", PAGE, re.DOTALL)
SHOWN = [line.partition("#")[0].split() for line in BLOCK.splitlines()]
SLOW = (["make", "cluster-kill", "NODE=1"], ["make", "cluster-freeze"])
"""Commands that take most of a minute. They are skipped here; other tests do the same with the cluster."""
MAKE = shutil.which("make") or "make"
INSTALLED = ("-o", ".venv/dev", "-o", ".venv-cluster/ready")
"""Options by which make does not rebuild the virtual environments."""


def made(*command: str) -> str:
    _, *targets = command
    command_line = [MAKE, "-s", *INSTALLED, *targets]
    done = subprocess.run(command_line, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def shown_urls() -> Iterator[str]:
    """Start the cluster by the first command of the page. Provides what it prints."""
    command = [MAKE, "-s", *INSTALLED, "cluster"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while "Ctrl-C" not in "".join(lines):
            lines.append(process.stdout.readline())
            assert lines[-1], "".join(lines)
        yield "".join(lines)
        process.terminate()


def test_the_commands_of_the_page_start_break_and_end_a_cluster(shown_urls: str) -> None:
    (both,) = re.findall(r"both\s+(http://\S+)/docs", shown_urls)
    assert SHOWN[0] == ["make", "cluster"]
    printed = [made(*command) for command in SHOWN[1:-1] if command not in SLOW]
    assert all("is the primary, with two standbys" in text for text in printed)
    assert httpx.get(f"{both}/health/ready").json()["status"] == "ready"
    assert "ended" in made(*SHOWN[-1])


def test_every_command_is_on_the_page() -> None:
    named = {command[1].removeprefix("cluster").strip("-") or "start" for command in SHOWN}
    assert named == set(COMMANDS)


def test_a_missing_program_is_one_sentence_that_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "haproxy" else f"/bin/{name}")
    assert [text for text in programs.missing() if "haproxy" in text] == [
        "haproxy is missing; on Debian: apt install haproxy"
    ]
