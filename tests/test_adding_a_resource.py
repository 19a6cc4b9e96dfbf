"""The README's way to add a resource, gone to its end: these steps, and no other, make a service that has it."""

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sysconfig
from pathlib import Path

import httpx

from tests.live import PROJECT, serving

COPIED = ("heroes", "kit", "migrations", "main.py", "settings.py", "demo.py", "pyproject.toml", "Makefile")
BIN = sysconfig.get_path("scripts")
"""Where the commands of this environment are: the copy has none of its own."""
README = (PROJECT / "README.md").read_text()
STEPS = re.findall(
    r"^\d\. (.*(?:\n   .*)*)", README.partition("## Adding a resource")[2].partition("\n## ")[0], re.MULTILINE
)
OF_ITS_HEROES = (
    r"    heroes: list\[Any\] = Relationship\(.*?\n    \)\n",
    r"\n\n    read_only = [^\n]*",
    r"; `heroes` only with `include=heroes`",
    r"    includes = [^\n]*\n",
    r"from sqlalchemy\.orm import relationship\n",
)
"""What a team has and a villain does not."""


def copied(folder: Path) -> Path:
    for name in COPIED:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, folder / name)
        else:
            shutil.copy2(PROJECT / name, folder / name)
    return folder


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.suffix == ".py"}


def write_the_resource(project: Path) -> None:
    pattern = (project / "heroes/team.py").read_text()
    for only_of_teams in OF_ITS_HEROES:
        pattern, times = re.subn(only_of_teams, "", pattern, flags=re.DOTALL)
        assert times == 1, only_of_teams
    villains = pattern.replace("Team", "Villain").replace("team", "villain")
    (project / "heroes/villain.py").write_text(villains)


def name_it_in_main(project: Path) -> None:
    source = (project / "main.py").read_text()
    source, imported = re.subn(r"(from heroes import \([^)]*)\)", r"\1    villain,\n)", source)
    source, added = re.subn(r"(PEOPLE = \([^)]*)\)", r"\1, villain)", source)
    assert (imported, added) == (1, 1)
    (project / "main.py").write_text(source)


def run(project: Path, database_url: str, *command: str) -> None:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def write_the_migration(project: Path, database_url: str) -> None:
    (command,) = re.findall(r"`(make migration [^`]*)`", STEPS[2])
    run(project, database_url, *shlex.split(command), f"BIN={BIN}", "--assume-old=.venv/dev")


def schema_of(database: Path, table: str) -> str:
    query = "SELECT group_concat(sql, ';') FROM sqlite_master WHERE tbl_name = ?"
    connection = sqlite3.connect(database)
    (schema,) = connection.execute(query, [table]).fetchone()
    connection.close()
    return str(schema)


def test_a_resource_is_added_by_two_edits_a_migration_and_the_tests() -> None:
    first_words = [re.sub(r"[`*]", "", step).split()[:2] for step in STEPS]
    assert first_words == [["Write", "heroes/villain.py:"], ["Name", "it"], ["make", "migration"], ["make", "test:"]]


def test_what_the_readme_says_is_all_that_a_new_resource_takes(tmp_path: Path) -> None:
    project, database = copied(tmp_path / "copy"), tmp_path / "fresh.db"
    before = texts(project)
    write_the_resource(project)
    name_it_in_main(project)
    write_the_migration(project, f"sqlite:///{database}")
    changed = {name for name, text in texts(project).items() if before.get(name) != text}
    (migration,) = changed - {"heroes/villain.py", "main.py"}
    assert set(re.findall(r'_table\(\s*"(\w+)"', (project / migration).read_text())) == {"villain"}
    with serving(f"sqlite:///{database}", tmp_path / "service.log", project=project) as server:
        check_it_answers(f"{server.url}/villains/")
        run(project, f"sqlite:///{database}", f"{BIN}/alembic", "check")
    shown, named = schema_of(database, "villain"), ("uq_villain_name", "ck_villain_name", "ck_villain_headquarters")
    assert [name for name in (*named, "ix_villain_headquarters", "ix_villain_created_at") if name not in shown] == []


def check_it_answers(url: str) -> None:
    with httpx.Client() as client:
        created = client.post(url, json={"name": "Dr. Weird", "headquarters": "The Moon"})
        assert (created.status_code, created.headers["location"]) == (201, "/villains/1")
        assert client.get(url).json() == [created.json()]
        assert client.post(url, json={"name": "Dr. Weird", "headquarters": "The Sun"}).status_code == 409
