"""Generator of resources: `python -m kit.scaffolding NAME=invoice FIELDS="number:str total:money"`."""

import os
import sys
from pathlib import Path

from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.project import Project
from kit.scaffolding.resource_arguments import ResourceArguments
from kit.scaffolding.writing import write

HELP = """Write `make resource NAME=invoice FIELDS="number:str total:money"`; see docs/adding-a-resource.md."""


def main(*arguments: str) -> str | None:
    """Write a resource in the current folder, by arguments such as `NAME=invoice`. Returns an error message or None."""
    given = {name.lower(): value.strip() for name, _, value in (argument.partition("=") for argument in arguments)}
    if not given.get("name") or given.keys() - ResourceArguments.__dataclass_fields__.keys():
        return HELP
    try:
        project = Project(Path.cwd())
        resource = ResourceArguments(**given).resource(project)
        paths = write(project, resource)
    except NotWrittenError as failure:
        return f"Nothing was written. {failure}"
    names = [os.path.relpath(path) for path in paths]
    sys.stdout.write(
        f"Written: {', '.join(names)}.\n"
        f"Next, read {names[0]}: its bounds and examples are guesses. Then:\n"
        f'  make migration MESSAGE="add {resource.plural.replace("_", " ")}"\n'
        f"  make test\n"
    )
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
