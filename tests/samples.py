"""Samples: the metrics of a service, as a client reads them."""

from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

Labels = dict[str, str]


class Samples:
    """The samples in a text of Prometheus."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that have these labels."""
        return sum(part.value for part in self.samples if part.name == name and labels.items() <= part.labels.items())

    def labels(self, name: str, label: str) -> set[str]:
        """Return the values of a label."""
        return {sample.labels[label] for sample in self.samples if sample.name == name}

    def number(self, name: str) -> int:
        """Return the number of time series."""
        return sum(sample.name == name for sample in self.samples)


async def read(client: httpx.AsyncClient, **options: Any) -> Samples:
    """Return the metrics that a client reads."""
    answer = await client.get("/metrics", **options)
    assert answer.status_code == 200, answer.text
    return Samples(answer.text)
