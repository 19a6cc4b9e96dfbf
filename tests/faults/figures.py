"""Results of the fault tests, for the table at the end of a run."""

FIGURES: list[tuple[str, str]] = []


def seen(what: str, figures: str) -> None:
    FIGURES.append((what, figures))


def percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[min(int(len(seconds) * share), len(seconds) - 1)]
