"""First contents of a new service: writes its first resource, its description in `main.py`, and its README."""

import ast
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from string import Template

from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.project import Project
from kit.scaffolding.resource_arguments import ResourceArguments
from kit.scaffolding.resources import Resource
from kit.scaffolding.service_names import NEUTRAL, first_resource, title_of
from kit.scaffolding.source_edits import Source
from kit.scaffolding.transfer import Transfer
from kit.scaffolding.words import article_of, in_words
from kit.scaffolding.writing import write

README = Template(Path(__file__).with_name("readme.template").read_text())


def add_resource(made: Path, arguments: ResourceArguments, kept: set[str]) -> Resource:
    """Write the first resource of the service, and its description in `main.py`. Returns the resource.

    Without a name in `arguments`, it is the singular of the service's name, unless a resource in `kept` has it, or
    `NEUTRAL`.
    """
    project = Project(made)
    default = first_resource(project.package)
    names = [arguments.name] if arguments.name else [*({default} - kept), NEUTRAL]
    resource = first_possible(names, arguments, project)
    write(project, resource)
    main = made / "main.py"
    main.write_text(described(main.read_text(), f"Users, and {in_words(resource.plural)}, over REST."))
    return resource


def first_possible(names: Sequence[str], arguments: ResourceArguments, project: Project) -> Resource:
    """Return the resource with the first of the names that is possible. Raises a NotWrittenError if none is."""
    for number, name in enumerate(names, 1):
        try:
            return replace(arguments, name=name).resource(project)
        except NotWrittenError:
            if number == len(names):
                raise
    raise AssertionError(names)


def described(text: str, description: str) -> str:
    """Return the source of `main.py` with another `description` of the service."""
    source = Source(text)
    found = [
        word.value
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Service"
        for word in node.keywords
        if word.arg == "description"
    ]
    return source.edited([source.of_node(node, f'"{description}"') for node in found])


def write_readme(made: Path, transfer: Transfer, resource: Resource) -> None:
    pages = sorted(path.relative_to(made).as_posix() for path in (made / "docs").glob("*.md"))
    listed = [f"- [{heading(made / page)}]({page})" for page in pages]
    words = in_words(resource.name)
    fields = {field.name: f"{article_of(words).capitalize()} {words}" for field in resource.fields[:1]}
    (made / "README.md").write_text(
        README.substitute(
            title=title_of(transfer.package),
            package=transfer.package,
            path=resource.path,
            name=resource.name,
            example=json.dumps(fields),
            pages="\n" + "\n".join(["## More", "", *listed]) if listed else "",
        ).rstrip()
        + "\n"
    )


def heading(page: Path) -> str:
    return next(line.lstrip("# ") for line in page.read_text().splitlines() if line.startswith("# "))
