"""Selection of the tests of a resource: `python -m kit.scaffolding.selection invoice` prints arguments for pytest."""

import sys
from pathlib import Path

from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.project import Project
from kit.scaffolding.relations import Relations, resource_of


def options(project: Project, name: str) -> list[str]:
    """Return the arguments of pytest for the tests of a resource: folders, and `-k` with an expression.

    Raises a NotWrittenError for an unknown resource.
    """
    relations = Relations(project)
    if name not in relations.modules:
        listed = ", ".join(sorted(relations.modules))
        raise NotWrittenError(f"RESOURCE={name} is not a resource: the resources are {listed}.")
    folder = project.folder / "tests" / project.package
    tests = [path.stem for path in folder.glob("test_*.py") if resource_of(path.stem, relations.modules) == name]
    paths = [path.strip("/") for path in sorted(relations.declared[name])]
    shared = [file for file in ("tests/contract", "tests/test_every_resource.py") if (project.folder / file).exists()]
    words = [*(f"{test}.py" for test in sorted(tests)), *paths]
    return [*shared, f"tests/{project.package}", "-k", "or".join(f"({word})" for word in words)]


def main(name: str = "") -> str | None:
    """Print the arguments, separated by spaces; nothing without a name. Returns an error message, or None."""
    if not name:
        return None
    try:
        chosen = options(Project(Path.cwd()), name)
    except NotWrittenError as failure:
        return str(failure)
    sys.stdout.write(" ".join(chosen) + "\n")
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
