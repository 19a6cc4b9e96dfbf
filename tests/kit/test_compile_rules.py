"""Compile rules: SQLAlchemy keeps one function for each class and dialect, and replaces it without a word."""

import re
from collections import Counter
from pathlib import Path

import kit

RULE = re.compile(r"^@compiles\((.+)\)$", re.MULTILINE)
REPLACED = ['Update, "sqlite"']
"""The rules that another one replaces on purpose: it calls the function that it replaces."""


def test_each_class_of_sqlalchemy_has_one_rule_for_a_dialect() -> None:
    sources = [path.read_text() for path in Path(kit.__file__).parent.rglob("*.py")]
    rules = Counter(rule for source in sources for rule in RULE.findall(source))
    assert len(rules) > 10
    assert [rule for rule, number in rules.items() if number > 1] == REPLACED
