"""A progress bar on the terminal; in a file or a pipe, one line at the end."""

import sys
from typing import TextIO

WIDTH = 30


class Progress:
    """The progress of a task of `total` steps."""

    def __init__(self, name: str, total: int, out: TextIO | None = None) -> None:
        self.name, self.total, self.done, self.out = name, total, 0, out or sys.stderr
        self.printed = -1

    def to(self, done: int) -> None:
        """Show that `done` steps of `total` are done."""
        self.done = min(done, self.total)
        part = self.done * 100 // self.total if self.total else 100
        if self.out.isatty() and part != self.printed:
            bar = "█" * (part * WIDTH // 100)
            self.out.write(f"\r{self.name:24} {bar:{WIDTH}} {part:3} %")
            self.out.flush()
        self.printed = part

    def step(self, steps: int = 1) -> None:
        self.to(self.done + steps)

    def end(self) -> None:
        """Show that all is done, and begin a new line."""
        self.to(self.total)
        self.out.write("\n" if self.out.isatty() else f"{self.name}: {self.total}\n")
        self.out.flush()

    def note(self, text: str) -> None:
        """Write a line after the end."""
        self.out.write(f"{text}\n")
