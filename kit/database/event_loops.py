"""Event loops: clean-up before an event loop is closed."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress


def before_loop_ends(clean_up: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Let the running event loop await `clean_up()` in `loop.shutdown_asyncgens`, before it is closed.

    `asyncio.run`, `asyncio.Runner` and anyio's portals call `shutdown_asyncgens`; `loop.close()` alone does not.
    Returns an asynchronous generator that is suspended at its `yield`. The caller must keep a reference to it.
    """

    async def wait() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await clean_up()

    generator = wait()
    with suppress(StopIteration):
        generator.asend(None).send(None)  # runs to the `yield`, so that the loop knows the generator
    return generator
