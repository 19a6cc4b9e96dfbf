"""The image is built from a minimal Debian, and serves as an unprivileged user on a read-only file system.

`make test-deploy IMAGE=1` runs this: it takes some minutes, root, buildah and debootstrap.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.application import KEY
from tests.deploy.programs import DEPLOY, free_port, listens, program, run, running

pytestmark = pytest.mark.skipif(not os.environ.get("IMAGE"), reason="the image is built by: make test-deploy IMAGE=1")
CONTAINED = Path(__file__).with_name("contained.py")
HOST = ("/etc/pip.conf", "/etc/ssl/certs", "/etc/xdg/pip", "/opt", str(Path("~/.config/pip").expanduser()))
"""Files of this machine that configure pip and its certificates, so that the build uses the same package index."""
MAX_MEGABYTES = 130
"""The size of the image without that of its base."""


class Builder:
    """Buildah with a storage of its own."""

    def __init__(self, folder: Path) -> None:
        self.command = program("buildah", "apt install buildah")
        self.options = ("--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "vfs")

    def __call__(self, *arguments: str | Path) -> str:
        return run(self.command, *self.options, *arguments).strip()


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return Builder(tmp_path_factory.mktemp("buildah"))


@pytest.fixture(scope="module")
def image(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Provide the folder of the image."""
    base = tmp_path_factory.mktemp("base")
    packages = "--include=python3,python3-venv,ca-certificates"
    run(program("debootstrap", "apt install debootstrap"), "--variant=minbase", packages, "bookworm", base)
    container = builder("from", "scratch")
    builder("add", "--quiet", container, base, "/")
    builder("commit", "--quiet", container, "localhost/base")
    mounts = [part for path in HOST if Path(path).exists() for part in ("--volume", f"{path}:{path}:ro")]
    of_base = ("--build-arg", "BASE=localhost/base", "--isolation", "chroot", "--network", "host")
    builder("build", *of_base, *mounts, "-f", DEPLOY / "Containerfile", "-t", "localhost/service", ".")
    made = builder("from", "localhost/service")
    yield Path(builder("mount", made))
    builder("umount", made)


def in_container(image: Path, *command: str, **variables: str) -> tuple[str | Path, ...]:
    production = {"ENVIRONMENT": "production", "SECRET_KEY": KEY, "DATABASE_URL": "sqlite:////tmp/service.db"}
    environment = {"PATH": "/venv/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"} | production | variables
    return sys.executable, CONTAINED, image, *(f"{name}={value}" for name, value in environment.items()), "--", *command


def test_the_image_has_no_more_than_the_service(image: Path) -> None:
    files = {path.name for path in (image / "app").iterdir()}
    assert {"kit", "main.py", "migrations"} <= files
    assert not files & {".git", ".env", "tests", "docs", ".venv"}
    megabytes = sum(file.lstat().st_size for part in ("app", "venv") for file in (image / part).rglob("*")) / 1e6
    assert megabytes < MAX_MEGABYTES
    assert not (image / "venv/bin/pip").exists()


def test_a_container_may_write_nothing_but_temporary_files(image: Path) -> None:
    lines = run(
        *in_container(image, "sh", "-c", "id -u; touch /app/x 2>&1; touch /tmp/x; grep CapBnd /proc/self/status")
    ).splitlines()
    assert lines[0] == "10001"
    assert lines[1].endswith("Read-only file system")
    assert lines[2].split() == ["CapBnd:", "0" * 16]


def test_a_container_migrates_serves_is_healthy_and_stops(image: Path, tmp_path: Path) -> None:
    port = free_port()
    serve = f"alembic upgrade head && exec uvicorn main:app --host 127.0.0.1 --port {port}"
    log = tmp_path / "log"
    with running(port, log, *in_container(image, "sh", "-c", serve)):
        answer = httpx.get(f"http://127.0.0.1:{port}/health/ready")
        assert answer.json()["status"] == "ready"
        health = (image / "app/deploy/healthy.py").read_text().replace(":8000", f":{port}")
        assert run(*in_container(image, "python", "-c", health)) == ""
    assert not listens(port)
    assert '"Finished server process' in log.read_text()


def test_the_health_check_fails_without_a_service(image: Path) -> None:
    with pytest.raises(AssertionError, match="Connection refused"):
        run(*in_container(image, "python", "-c", (image / "app/deploy/healthy.py").read_text().replace(":8000", ":1")))
