"""An interactive Python console with top-level `await` and an open database session."""

import ast
import asyncio
import code
import inspect
import types
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from sqlalchemy import URL

from kit.database.databases import Database
from kit.http.principals import CURRENT_PRINCIPAL, UNRESTRICTED

BANNER = """`session` is open: await session.exec(select(…)), session.add(…), await session.commit().
Names: {names}. Ctrl-D ends it; what is not committed is undone."""


class Console(code.InteractiveConsole):
    """A Python console that runs each coroutine on the event loop of `runner`."""

    def __init__(self, names: Mapping[str, Any], runner: asyncio.Runner) -> None:
        super().__init__(dict(names))
        self.runner = runner
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def runcode(self, code: types.CodeType) -> None:
        try:
            result = types.FunctionType(code, self.locals)()
            if inspect.iscoroutine(result):
                self.runner.run(result)
        except SystemExit:
            raise
        except BaseException:  # no exception ends the console
            self.showtraceback()


def run_shell(url: URL, names: Mapping[str, Any]) -> None:
    """Run a console with the variables `names`, `session` (a WriteSession without restrictions) and `database`."""
    with asyncio.Runner() as runner:
        CURRENT_PRINCIPAL.set(UNRESTRICTED)
        stack, database = AsyncExitStack(), Database(url)
        session = runner.run(stack.enter_async_context(database.write()))
        given = {**names, "session": session, "database": database}
        try:
            Console(given, runner).interact(BANNER.format(names=", ".join(sorted(names))), exitmsg="")
        finally:
            runner.run(stack.aclose())
            runner.run(database.dispose())
