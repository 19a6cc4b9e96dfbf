"""When the metrics are updated: while a service runs, and at its end."""

import pytest
from prometheus_client import CollectorRegistry

from kit import Service
from kit.http.events import COUNTS
from kit.metrics import Access, sampling
from kit.metrics.exposition import Exposition
from kit.metrics.measurements import Measurements
from kit.metrics.sampling import Sampling
from kit.metrics.workers import VARIABLE
from tests.kit.server.test_servers import free_port
from tests.waiting import until

pytestmark = pytest.mark.no_fast_path


def sampler(service: Service, access: Access | None = None) -> Sampling:
    return Sampling(Measurements(service), Exposition(CollectorRegistry()), access or Access())


async def test_pools_are_read_again_and_again(measured: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "INTERVAL_SECONDS", 0.001)
    sampled = sampler(measured)
    reads: list[None] = []
    monkeypatch.setattr(sampled.measurements, "read", lambda: reads.append(None))
    async with sampled.running():
        await until(lambda: len(reads) > 2)


async def test_what_happens_at_last_is_counted(measured: Service) -> None:
    sampled = sampler(measured)
    async with sampled.running():
        COUNTS["retries", "lost"] += 1
    assert sampled.measurements.registry.get_sample_value("db_retries_total", {"reason": "lost"}) == 1


async def test_a_full_disk_is_logged_and_ends_nothing(
    measured: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("No space left on device")

    sampled = sampler(measured)
    monkeypatch.setattr(sampled.measurements, "update", fail)
    sampled.update()
    assert "The metrics cannot be shared: No space left on device" in caplog.text


async def test_a_worker_whose_sibling_has_the_port_goes_on_without_it(
    measured: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = Access(port=free_port())
    first, second = sampler(measured, access), sampler(measured, access)
    async with first.running():
        monkeypatch.setenv(VARIABLE, "/shared")
        async with second.running():
            assert second.server is None
        assert first.server is not None
