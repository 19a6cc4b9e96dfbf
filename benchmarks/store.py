"""Stored results: the measurements of a run as JSON. A run that was interrupted continues with them."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import chart, report
from benchmarks.plan import Plan
from benchmarks.rounds import Group

SAME = ("commit", "processor", "versions", "left_out", "settings")
"""The facts that must not differ between the parts of a run."""


@dataclass
class Results:
    """The results of a run, which may be incomplete."""

    plan: Plan
    facts: dict[str, Any]
    groups: list[Group] = field(default_factory=list)

    @property
    def measured(self) -> list[Group]:
        return [group for group in self.groups if group.rounds]

    @property
    def complete(self) -> bool:
        keys = {group.key for group in self.groups if len(group.rounds) >= self.plan.rounds}
        return all(group.key in keys for engine in self.plan.engines for group in self.plan.groups(engine))

    def group(self, planned: Group) -> Group:
        """Return the stored group with the same key as the planned one; adds the planned one if there is none."""
        for group in self.groups:
            if group.key == planned.key:
                return group
        self.groups.append(planned)
        return planned

    def write(self, file: Path) -> None:
        """Write the measurements. The file is replaced as a whole, so that an interruption leaves the older one."""
        file.parent.mkdir(parents=True, exist_ok=True)
        stored = {"plan": asdict(self.plan), "facts": self.facts, "groups": [one.as_json() for one in self.measured]}
        new = file.with_suffix(".new")
        new.write_text(json.dumps(stored, ensure_ascii=False, separators=(",", ":")) + "\n")
        new.replace(file)

    def render(self, folder: Path) -> None:
        """Write the report and the chart."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.md").write_text(report.markdown(self.plan, self.facts, self.measured))
        (folder / "results.svg").write_text(chart.svg(self.measured, report.footer(self.facts)))


def read(file: Path) -> Results:
    stored = json.loads(file.read_text())
    return Results(Plan(**stored["plan"]), stored["facts"], [Group.from_json(one) for one in stored["groups"]])


def continued(file: Path, plan: Plan, facts: dict[str, Any]) -> Results:
    """Return the stored results of an interrupted run with the same plan and conditions, or empty ones."""
    if file.exists():
        stored = read(file)
        same = all(stored.facts[name] == facts[name] for name in SAME)
        if same and alike(stored.plan, plan) and not stored.complete:
            return stored
    return Results(plan, facts)


def alike(stored: Plan, plan: Plan) -> bool:
    return plain(stored) == plain(plan)


def plain(plan: Plan) -> dict[str, Any]:
    """Return a plan as values, with lists in place of tuples, as JSON has them."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(plan)))
    return values
