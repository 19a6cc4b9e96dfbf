"""Relations of resources: the dependencies between the modules of the domain, by imports and by foreign keys."""

import ast
import re
from collections.abc import Collection, Iterable
from functools import cached_property

from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.project import Project, parsed

FOREIGN_KEY = re.compile(r"""foreign_key\s*=\s*["'](\w+)\.|ForeignKey\(\s*["'](\w+)\.""")


class Relations:
    """The modules of a project's package of resources, and their dependencies."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.modules = {path.stem: path for path in project.modules()}

    @cached_property
    def needs(self) -> dict[str, set[str]]:
        """By module, the modules that it imports, also for type checking only, or refers to by a foreign key."""
        return {name: self.imports_of(name) | self.parents_of(name) for name in self.modules}

    def imports_of(self, name: str) -> set[str]:
        package, found = self.project.package, set[str]()
        for node in ast.walk(parsed(self.modules[name])):
            if isinstance(node, ast.ImportFrom) and node.module == package:
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{package}."):
                found.add(str(node.module).split(".")[1])
        return found & self.modules.keys()

    def parents_of(self, name: str) -> set[str]:
        tables = {known.table: known.module for known in self.project.known.values()}
        keys = {table for pair in FOREIGN_KEY.findall(self.modules[name].read_text()) for table in pair}
        return {tables[table] for table in keys & tables.keys()} - {name}

    def with_needs(self, names: Iterable[str]) -> set[str]:
        """Return these modules and all their dependencies. Raises a NotWrittenError for an unknown name."""
        found, waiting = set[str](), list(names)
        while waiting:
            name = waiting.pop()
            if name not in self.modules:
                known = ", ".join(sorted(self.modules))
                raise NotWrittenError(f"There is no resource {name}: the resources are {known}.")
            if name not in found:
                found.add(name)
                waiting += self.needs[name]
        return found

    def paths_of(self, names: Collection[str]) -> list[str]:
        """Return the URL paths, such as `/orders`, that only these modules declare."""
        own = set().union(*(self.declared[name] for name in names))
        return sorted(own - set().union(*(paths for name, paths in self.declared.items() if name not in names)))

    @cached_property
    def declared(self) -> dict[str, set[str]]:
        """By module, the URL paths of its routers up to the first segment, such as `/orders`."""
        first = re.compile(r'prefix="(/[^/"{]+)')
        return {name: set(first.findall(path.read_text())) for name, path in self.modules.items()}

    def dependents(self, name: str) -> set[str]:
        """Return the other modules that directly depend on this one."""
        return {other for other, needed in self.needs.items() if name in needed and other != name}


def resource_of(test: str, resources: Iterable[str]) -> str | None:
    """Return the resource of a test module: the longest name with which the module begins; None if there is none.

    `test_stock_movement_races` is a test of `stock_movement`, and not of `stock`.
    """
    name = test.removeprefix("test_")
    about = [resource for resource in resources if name == resource or name.startswith(f"{resource}_")]
    return max(about, key=len, default=None)
