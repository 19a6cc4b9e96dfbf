"""The figures that a run has seen, for the table at its end."""

FIGURES: list[tuple[str, str]] = []


def seen(what: str, figures: str) -> None:
    FIGURES.append((what, figures))


def percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[min(int(len(seconds) * share), len(seconds) - 1)]
