"""The alerts and the dashboard: checked by Prometheus' own tool, and scraped and evaluated by a real Prometheus."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from tests.engines import Client, on_sqlite
from tests.kit.metrics.test_workers import serving
from tests.kit.server.test_servers import PROJECT, free_port
from tests.samples import Samples, read
from tests.waiting import TIMEOUT_SECONDS, until

pytestmark = pytest.mark.no_fast_path

FOLDER = PROJECT / "deploy/prometheus"
ALERTS = FOLDER / "alerts.yml"
RULES = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
PANELS = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]
RUNBOOK = (PROJECT / "docs/runbook.md").read_text()
PAGE = (PROJECT / "docs/metrics.md").read_text()
OF_PROMETHEUS = {"up"}
METRIC = re.compile(r"\b(?:http|db|process|event|idempotency|log)_[a-z_]+|\bup\b")
SUFFIX = re.compile(r"_(bucket|sum|count)$")
DOWN = """
rule_files: [{alerts}]
tests:
  - interval: 30s
    input_series:
      - {{series: 'up{{job="service", instance="one"}}', values: '1 0 0 0 0 0'}}
      - {{series: 'http_request_duration_seconds_count{{job="service", status="5xx"}}', values: '0+3x40'}}
      - {{series: 'http_request_duration_seconds_count{{job="service", status="2xx"}}', values: '0+97x40'}}
    alert_rule_test:
      - eval_time: 1m
        alertname: ServiceDown
      - eval_time: 2m
        alertname: ServiceDown
        exp_alerts: [{{exp_labels: {{job: service, instance: one, severity: page}}, exp_annotations: {down}}}]
      - eval_time: 12m
        alertname: ManyErrors
        exp_alerts: [{{exp_labels: {{job: service, severity: page}}, exp_annotations: {errors}}}]
"""


def installed(program: str) -> str:
    path = shutil.which(program)
    if path is None and "CI" in os.environ:
        pytest.fail("There is no Prometheus, without which nobody knows whether alerts work: apt install prometheus")
    if path is None:
        pytest.skip(f"THE ALERTS WERE NOT TRIED OUT: there is no {program} here; on Debian: apt install prometheus")
    return path


def names_in(text: str) -> set[str]:
    return set(METRIC.findall(text))


def test_the_rules_and_the_configuration_are_valid(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "prometheus")
    (tmp_path / "prometheus/metrics_token").write_text("a token")
    command = [installed("promtool"), "check", "config", str(tmp_path / "prometheus/prometheus.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    annotations = {rule["alert"]: dict(rule["annotations"]) for rule in RULES}
    annotations["ServiceDown"]["summary"] = "one does not answer Prometheus."
    annotations["ManyErrors"]["summary"] = "3% of the requests fail with a 5xx."
    down, errors = json.dumps(annotations["ServiceDown"]), json.dumps(annotations["ManyErrors"])
    file = tmp_path / "test.yml"
    file.write_text(DOWN.format(alerts=ALERTS, down=down, errors=errors))
    command = [installed("promtool"), "test", "rules", str(file)]
    tested = subprocess.run(command, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_has_its_section_in_the_runbook(rule: dict[str, Any]) -> None:
    section = RUNBOOK.partition(f"\n## {rule['alert']}\n")[2].partition("\n## ")[0]
    assert re.search(r"^1\. ", section, re.MULTILINE), section
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
    assert rule["labels"]["severity"] in ("page", "ticket")


def test_every_section_of_the_runbook_has_its_alert() -> None:
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == [rule["alert"] for rule in RULES]


@pytest.mark.usefixtures("standby")
async def test_every_metric_that_is_named_exists_and_every_one_that_exists_is_described(reader: Client) -> None:
    await reader.get("/shelves/")
    shown = {sample.name for sample in (await read(reader)).samples}
    assert {name for text in EXPRESSIONS for name in names_in(text)} - OF_PROMETHEUS <= shown
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    described = {SUFFIX.sub("", name) for name in shown if not name.startswith("python_")}
    assert {name for name in rows if METRIC.fullmatch(name)} == described


def test_the_labels_of_refusals_are_described() -> None:
    for reason in ("busy", "share", "streams", "rate", "body", "head", "login", "pool"):
        assert f"| `{reason}` | " in PAGE


@asynccontextmanager
async def prometheus(target: str, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a Prometheus that scrapes this target each second, with the rules of the project."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    (folder / "metrics_token").write_text("x" * 32)
    (folder / "alerts.yml").write_text(ALERTS.read_text())
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    process = subprocess.Popen(  # noqa: ASYNC220  it does not wait
        [installed("prometheus"), *options, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
        stdout=subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_SECONDS) as client:
            yield client
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, TIMEOUT_SECONDS)


async def asked(client: httpx.AsyncClient, query: str) -> str | None:
    """Return the value of a query; None while Prometheus starts, or has no value yet."""
    try:
        answer = await client.get("/api/v1/query", params={"query": query})
    except httpx.TransportError:
        return None
    found = answer.json()["data"]["result"] if answer.status_code == 200 else []
    return str(found[0]["value"][1]) if found else None


async def has_value(client: httpx.AsyncClient, query: str, value: str) -> bool:
    return await asked(client, query) == value


@pytest.mark.untraced
@on_sqlite
async def test_a_real_prometheus_reads_the_sums_of_all_workers_and_evaluates_the_rules(
    new_database: Any, log_file: Path, tmp_path: Path
) -> None:
    installed("prometheus")
    settings = {"DATABASE_URL": await new_database(), "METRICS_TOKEN": "x" * 32, "TMPDIR": str(tmp_path)}
    async with serving("uvicorn with workers", log_file, **settings) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=TIMEOUT_SECONDS) as client:
            await server.wait_until_ready(client)
            for _ in range(25):
                assert (await client.get("/pid")).status_code == 200
            assert (await client.get("/metrics")).status_code == 401
        async with prometheus(server.url.removeprefix("http://"), tmp_path) as client:
            counted = 'sum(http_request_duration_seconds_count{route="/pid"})'
            for query, value in ((counted, "25"), ("up", "1")):
                await until(partial(has_value, client, query, value), 0.1)
            rules = (await client.get("/api/v1/rules")).json()["data"]["groups"][0]["rules"]
            assert {(rule["name"], rule.get("lastError", "")) for rule in rules} == {
                (rule["alert"], "") for rule in RULES
            }


def test_samples_are_read_as_prometheus_reads_them() -> None:
    assert Samples('a_total{b="c"} 2\na_total{b="d"} 3\n').sum("a_total") == 5
