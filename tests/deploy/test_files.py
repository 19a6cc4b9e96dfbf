"""The files of `deploy/` keep the published schemas, and the unit is accepted by systemd."""

import re
from pathlib import Path

import pytest

from settings import Settings
from tests.deploy.programs import DEPLOY, program, run
from tests.live import PROJECT

SCHEMAS = {"compose-spec": DEPLOY / "compose.yaml", "github-workflows": PROJECT / ".github/workflows/ci.yaml"}
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
PYTHON = "make test-deploy installs it"


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_file_keeps_its_published_schema(schema: str) -> None:
    check = program("check-jsonschema", PYTHON)
    assert "ok" in run(check, "--builtin-schema", f"vendor.{schema}", SCHEMAS[schema])


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_the_manifests_keep_the_schemas_of_kubernetes(version: str) -> None:
    output = run(program("kubernetes-validate", PYTHON), "--strict", "-k", version, *MANIFESTS)
    named = [line for path in MANIFESTS for line in path.read_text().splitlines() if line.startswith("kind: ")]
    assert output.count(" passed for resource ") == len(named)


def test_every_setting_that_is_named_exists() -> None:
    variables = re.findall(r"^(?:#| )* *(?:- {name: )?([A-Z]+_[A-Z_]+)(?:=|: |,)", everything(), re.MULTILINE)
    others = {"FORWARDED_ALLOW_IPS", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"}
    assert {"SECRET_KEY", "SHUTDOWN_DELAY", "DATABASE_URL"} <= set(variables)
    assert set(variables) - others <= {name.upper() for name in Settings.model_fields}


def test_the_unit_is_accepted_by_systemd_and_is_hardened(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "apt install systemd")
    unit = tmp_path / "service.service"
    unit.write_text((DEPLOY / "service.service").read_text().replace("/opt/service", str(PROJECT)))
    assert run(analyze, "verify", unit) == ""
    assert "OK" in run(analyze, "security", "--offline=true", "--threshold=15", "--no-pager", unit).splitlines()[-1]


def test_a_stop_is_given_as_much_time_as_the_service_takes() -> None:
    fields = Settings.model_fields
    longest = fields["shutdown_timeout"].default + 5  # the delay of the pods
    graces = re.findall(r"(?:TimeoutStopSec=|stop_grace_period: |terminationGracePeriodSeconds: )(\d+)", everything())
    assert len(graces) == 3
    assert all(int(grace) > longest for grace in graces)


def everything() -> str:
    return "\n".join(path.read_text() for path in DEPLOY.rglob("*") if path.suffix in (".yaml", ".service"))
