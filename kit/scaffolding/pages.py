"""Documentation pages of a new service: removes what they say about pages, files and commands that it lacks."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

LINK = re.compile(r"!?\[([^\]]*)\]\((?!https?:)([^)#\s]+)(#[^)]*)?\)")
ITEM = re.compile(r"^- \[[^\]]*\]\((?!https?:)([^)#\s]+)[^)]*\).*\n(?:  .*\n)*", re.MULTILINE)
"""An item of a list that begins with a link."""
REMARK = re.compile(r"\s?\(\[[^\]]*\]\((?!https?:)([^)#\s]+)[^)]*\)[^()]*\)")
"""A remark in parentheses that begins with a link."""
CELL = re.compile(r"(?<=\| )\[[^\]]*\]\((?!https?:)([^)#\s]+)[^)]*\) (?=\|)")
"""A cell of a table with nothing but a link."""
PARAGRAPH = re.compile(r"(?:(?<=\n\n)|\A)[A-Z`\[][^\n]*\n(?:[^\n]+\n)*\n?")
NAME = re.compile(r"`([^`]+)`")
ROW = re.compile(r"^\|.*", re.MULTILINE)
ITEM_OF_CELL = re.compile(r"`([^`]+)`,? ?")
EMPTY = re.compile(r"^## .*\n\s*(?=## |\Z)", re.MULTILINE)
"""A section with a heading and no text."""


def linked(name: str, text: str) -> Iterator[str]:
    """Yield the paths of the files to which a page links. `name` is the path of the page."""
    folder = PurePosixPath(name).parent
    for _, path, _ in LINK.findall(text):
        yield normal(folder / path)


def without_dead_links(name: str, text: str, copied: set[str]) -> str:
    """Return a page without links to files that are not in `copied`.

    Items of lists, remarks and cells of tables that begin with such a link are removed, and then empty sections. Of
    other links, the text is kept.
    """
    folder = PurePosixPath(name).parent

    def is_copied(path: str) -> bool:
        whole = normal(folder / path)
        return whole in copied or any(other.startswith(f"{whole}/") for other in copied)

    for part in (ITEM, REMARK, CELL):
        text = part.sub(lambda found: found[0] if is_copied(found[1]) else "", text)
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
    return "".join(line for line in lines if not (line.startswith("|") and removed & set(NAME.findall(line))))


def without_removed(text: str, removed: set[str]) -> str:
    """Return a page without the paragraphs and the table rows that contain a removed file or command in backticks.

    Rows lose removed tests alone.
    """
    tests = {name for name in removed if name.startswith("test_")}
    text = PARAGRAPH.sub(lambda found: "" if removed & set(NAME.findall(found[0])) else found[0], text)
    return ROW.sub(lambda row: without_names(row[0], tests), without_rows(text, removed - tests))


def without_names(row: str, names: set[str]) -> str:
    """Return a table row without names in backticks, which are separated by commas."""
    left = ITEM_OF_CELL.sub(lambda item: "" if item[1] in names else item[0], row)
    return left if left == row else left.replace(", |", " |")
