"""Renaming: replaces the name of a project by that of a new service, in copied files and their paths."""

import re
from dataclasses import dataclass

from kit.scaffolding.service_names import title_of


@dataclass(frozen=True)
class Renaming:
    """Replaces the package name `old` of a project by the package name `new` of a service."""

    old: str
    new: str

    def text(self, text: str) -> str:
        """Return a text with the package name and the title of the new service."""
        text = re.sub(rf"(?<![A-Za-z0-9]){self.old}(?![A-Za-z0-9])", self.new, text)
        return re.sub(rf"\b{title_of(self.old)}\b", title_of(self.new), text)

    def code(self, text: str) -> str:
        """Return a module with the new package name in imports and module names, but not in paths of routes."""
        patterns = (
            rf"(?<=\bfrom ){self.old}(?=[. ])",
            rf"(?<=\bimport ){self.old}\b",
            rf"(?<=\btests\.){self.old}\b",
            rf"(?<=[\"']){self.old}(?=\.[a-z_]+[.\"'])",
            rf"(?<=^NAME = \"){self.old}(?=\"$)",
        )
        for pattern in patterns:
            text = re.sub(pattern, self.new, text, flags=re.MULTILINE)
        return text

    def path(self, name: str) -> str:
        """Return the path of a file in the new service."""
        for folder in (self.old, f"tests/{self.old}"):
            if name.startswith(f"{folder}/"):
                return folder.removesuffix(self.old) + self.new + name.removeprefix(folder)
        return name

    def project(self, text: str) -> str:
        """Return `pyproject.toml` for the new service: with its description, and coverage of its own code only."""
        text = re.sub(r"^# What `make new`[^\n]*\n|^leave_out = \[.*?^\]\n", "", text, flags=re.MULTILINE | re.DOTALL)
        text = re.sub(r'^(source = \[.*)"kit", ', r"\1", text, flags=re.MULTILINE)
        description = f'description = "{title_of(self.new)}, over REST"'
        return re.sub(r"^description = .*$", description, text, count=1, flags=re.MULTILINE)
