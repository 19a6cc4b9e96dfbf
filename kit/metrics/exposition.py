"""Exposition: the metrics in Prometheus' text formats, of one process or of all workers."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from glob import glob
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.samples import Sample

from kit.metrics.formats import preferred
from kit.metrics.workers import VARIABLE


class Exposition:
    """The metrics of this process, or of all workers if they share a folder.

    They include the metrics that the application has defined with `prometheus_client`.
    """

    def __init__(self, own: CollectorRegistry) -> None:
        self.registry = CollectorRegistry(support_collectors_without_names=True)
        folder = os.environ.get(VARIABLE)
        if folder:
            MultiProcessCollector(self.registry, folder)  # type: ignore[no-untyped-call]  # the library has no types here
            self.registry.register(Workers(folder))
        else:
            self.registry.register(own)
            self.registry.register(REGISTRY)

    def text(self, accept: str, names: Iterable[str] = ()) -> tuple[str, bytes]:
        """Return the media type for the header `accept`, and the metrics; only those with these names, if any."""
        encoder, media_type = choose_encoder(preferred(accept))
        chosen = set(names)
        return media_type, encoder(self.registry.restricted_registry(chosen) if chosen else self.registry)


class Workers:
    """A collector of each worker's memory, processor time and open files, with the label `pid`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for worker in self.alive():
            process = ProcessCollector(pid=lambda worker=worker: worker, registry=None)  # type: ignore[misc]
            for metric in process.collect():
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                family.samples += [Sample(part.name, {"pid": str(worker)}, part.value) for part in metric.samples]
        yield from families.values()

    def alive(self) -> list[int]:
        """Return the ids of the running workers. The gauges of ended ones are removed, their counters are kept."""
        files = glob(f"{self.folder}/gauge_livesum_*.db")  # noqa: PTH207  the library's own pattern
        workers = sorted(int(Path(file).stem.rpartition("_")[2]) for file in files)
        for worker in workers:
            if not exists(worker):
                mark_process_dead(worker, self.folder)  # type: ignore[no-untyped-call]  # the same
        return list(filter(exists, workers))


def exists(process: int) -> bool:
    """Return whether a process runs. A zombie does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not is_zombie(process)


def is_zombie(process: int) -> bool:
    """Return whether a process has ended, and its parent has not called `wait`; False where there is no `/proc`."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    return False
