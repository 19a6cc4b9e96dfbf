"""Installation: adds the metrics to a service."""

from prometheus_client import disable_created_metrics

from kit.metrics import Access
from kit.metrics.exposition import Exposition
from kit.metrics.measurements import Measurements
from kit.metrics.route import MetricsPage, metrics_router
from kit.metrics.sampling import Sampling
from kit.server.service import Service


def install(service: Service, access: Access) -> None:
    """Measure a service, and add the route `/metrics`, unless the metrics have a separate port."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped; they double the time series of counters
    measurements = Measurements(service)
    exposition = Exposition(measurements.registry)
    sampling = Sampling(measurements, exposition, access)
    service.observers.append(measurements.pending.append)
    service.companions.append(sampling.running)

    def refresh() -> None:
        sampling.update()
        measurements.read()

    if access.port is None:
        service.include_for_operators(metrics_router(MetricsPage(exposition, refresh, access.token)))
