"""The arguments of `make resource`: checks them, and makes a `Resource` of them."""

import builtins
from collections.abc import Sequence
from dataclasses import dataclass

from kit.models.database_names import system_of_table
from kit.models.entities import known_tables
from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.fields import Field, fields_of
from kit.scaffolding.project import KnownResource, Project
from kit.scaffolding.rendering import names_in_use
from kit.scaffolding.resources import Resource
from kit.scaffolding.words import check_word, class_of, in_words, plural_of, singular_of

LAYERS = frozenset({"utils", "services", "repositories", "schemas", "crud", "models", "helpers", "common"})
"""Generic names of modules, which are refused as names of resources."""


@dataclass(frozen=True)
class ResourceArguments:
    """The arguments of `make resource`. An empty string stands for a missing one."""

    name: str
    fields: str = ""
    owner: str = ""
    parent: str = ""
    plural: str = ""

    def resource(self, project: Project) -> Resource:
        """Return the resource. Raises a NotWrittenError if it cannot be added to the project."""
        self.check_name(project)
        plural = self.plural or plural_of(self.name)
        check_free(plural, project)
        itself = KnownResource.new(self.name, class_of(self.name))
        fields = fields_of(self.fields or "name:str", self.name, {**project.known, self.name: itself})
        for field in fields:
            if field.parent is itself and not field.is_optional:
                hint = f"write {field.relation}:{self.name}?"
                raise NotWrittenError(f"The first {in_words(self.name)} has no other to refer to: {hint}.")
        parent = self.parent_among(fields, project)
        owner = self.owner_among(fields, project)
        if owner and parent and parent.parent and parent.parent.owner:
            part, whole = in_words(self.name), in_words(parent.parent.module)
            raise NotWrittenError(f"The {part} has its owner through the {whole}: leave out {owner.relation}.")
        return Resource(self.name, plural, project.package, fields, owner, parent)

    def check_name(self, project: Project) -> None:
        """Raise a NotWrittenError if the name is a plural, or is already in use."""
        check_word(self.name, "a resource")
        singular = None if self.plural else singular_of(self.name)
        if singular is not None:
            hint = f"write NAME={singular}, or give PLURAL= if it is none"
            raise NotWrittenError(f"{self.name!r} is a plural, and the name of a resource is a singular: {hint}.")
        if self.name in LAYERS:
            raise NotWrittenError(f"A resource cannot be called {self.name}, which is a kind of module.")
        if (project.folder / project.package / f"{self.name}.py").exists():
            raise NotWrittenError(f"{project.package}/{self.name}.py exists: take another name, or remove it.")
        self.check_unused(project)

    def check_unused(self, project: Project) -> None:
        """Raise a NotWrittenError if something else in the project or in Python has the name."""
        taken = names_in_use() & {self.name, class_of(self.name)}
        if taken:
            raise NotWrittenError(f"A resource cannot be called {self.name}: {min(taken)} is already in use.")
        if self.name in project.names_in_main:
            hint = f"use a longer name, as in room_{self.name}"
            raise NotWrittenError(f"A resource cannot be called {self.name}: main.py has this name already: {hint}.")
        if hasattr(builtins, self.name):
            hint = f"use a longer name, as in room_{self.name}"
            raise NotWrittenError(f"A resource cannot be called {self.name}, which is a builtin of Python: {hint}.")
        if system := system_of_table(self.name):
            hint = f"use another name, as in my_{self.name}"
            raise NotWrittenError(f"{system} keeps names such as {self.name} for tables of its own: {hint}.")
        if self.name in known_tables() or self.name in {known.table for known in project.known.values()}:
            raise NotWrittenError(f"There is a table {self.name}: take another name.")

    def parent_among(self, fields: list[Field], project: Project) -> Field | None:
        """Return the foreign key to the parent, if one is given. It is added to `fields` if it is missing."""
        if not self.parent:
            return None
        known = project.known.get(self.parent)
        if known is None:
            raise NotWrittenError(f"PARENT={self.parent} is not a resource: write one of {', '.join(project.known)}.")
        if known.is_user:
            raise NotWrittenError(f"The owner of a row is not its parent: write OWNER={self.parent}.")
        found = next((field for field in fields if field.parent == known), None)
        if found is None:
            (found,) = fields_of(f"{self.parent}:{self.parent}", self.name, project.known)
            refuse_twice(found, fields)
            fields.insert(0, found)
        return needed(found, "parent")

    def owner_among(self, fields: list[Field], project: Project) -> Field | None:
        """Return the foreign key to the owner, if there is one. It is added to `fields` if it is missing."""
        named = self.owner or "owner"
        users = [field for field in fields if field.parent and field.parent.is_user]
        found = next((field for field in users if named in (field.name, field.relation)), None)
        if found is None and self.owner:
            known = project.known.get(self.owner)
            if known is None or not known.is_user:
                names = ", ".join(resource.module for resource in project.known.values() if resource.is_user) or "none"
                raise NotWrittenError(f"OWNER={self.owner} is not a resource of users: these are {names}.")
            found = next((field for field in users if field.parent == known and field.relation == "owner"), None)
            if found is None:
                (found,) = fields_of(f"owner:{self.owner}", self.name, project.known)
                refuse_twice(found, fields)
                fields.append(found)
        return found and needed(found, "owner")


def check_free(plural: str, project: Project) -> None:
    check_word(plural, "a plural")
    path = plural.replace("_", "-")
    if path in project.paths:
        raise NotWrittenError(f"The path /{path} is taken by {project.paths[path]}: give another PLURAL=.")


def needed(field: Field, what: str) -> Field:
    if field.is_optional:
        raise NotWrittenError(f"The {what}, {field.relation}, cannot be optional: leave out the `?`.")
    return field


def refuse_twice(new: Field, fields: Sequence[Field]) -> None:
    if {new.name, new.relation} & {name for field in fields for name in (field.name, field.relation)}:
        raise NotWrittenError(f"The field {new.relation} is named twice: leave it out of FIELDS, or use another name.")
