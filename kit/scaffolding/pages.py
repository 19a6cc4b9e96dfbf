"""Documentation pages of a new service: removes the links to files, and the table rows about files, that it lacks."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

LINK = re.compile(r"!?\[([^\]]*)\]\((?!https?:)([^)#\s]+)(#[^)]*)?\)")
ITEM = re.compile(r"^- \[[^\]]*\]\((?!https?:)([^)#\s]+)[^)]*\).*\n(?:  .*\n)*", re.MULTILINE)
"""An item of a list that begins with a link."""
EMPTY = re.compile(r"^## .*\n\s*(?=## |\Z)", re.MULTILINE)
"""A section with a heading and no text."""


def linked(name: str, text: str) -> Iterator[str]:
    """Yield the paths of the files to which a page links. `name` is the path of the page."""
    folder = PurePosixPath(name).parent
    for _, path, _ in LINK.findall(text):
        yield normal(folder / path)


def without_dead_links(name: str, text: str, copied: set[str]) -> str:
    """Return a page without links to files that are not in `copied`, and without items and sections of such links."""
    folder = PurePosixPath(name).parent

    def is_copied(path: str) -> bool:
        whole = normal(folder / path)
        return whole in copied or any(other.startswith(f"{whole}/") for other in copied)

    text = ITEM.sub(lambda item: item[0] if is_copied(item[1]) else "", text)
    text = EMPTY.sub("", text)
    return LINK.sub(lambda link: link[0] if is_copied(link[2]) else link[1], text)


def normal(path: PurePosixPath) -> str:
    """Return a path with its `..` segments resolved."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts[-1:] = []
        else:
            parts.append(part)
    return "/".join(parts)


def removed_names(folder: Path, before: Iterable[str], after: Iterable[str]) -> set[str]:
    """Return the paths in `before` that are not in `after`, and the names of the tests that only they contain."""
    left = set(after)
    removed = {name for name in before if name not in left and not name.startswith("migrations/versions")}
    return removed | tests_in(folder, removed) - tests_in(folder, left)


def tests_in(folder: Path, names: Iterable[str]) -> set[str]:
    sources = [folder / name for name in names if name.endswith(".py") and PurePosixPath(name).name.startswith("test_")]
    return {test for path in sources if path.is_file() for test in re.findall(r"def (test_\w+)\(", path.read_text())}


def without_rows(text: str, removed: set[str]) -> str:
    """Return a page without the table rows that contain a removed file or test in backticks."""
    lines = text.splitlines(keepends=True)
    return "".join(
        line for line in lines if not (line.startswith("|") and removed & set(re.findall(r"`([^`]+)`", line)))
    )
