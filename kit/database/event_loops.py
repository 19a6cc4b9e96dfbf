"""Event loops: cleaning up before the running loop ends."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress


def before_loop_ends(clean_up: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Let the running event loop await this before it ends. The caller keeps the result until then.

    It is an asynchronous generator that waits at its `yield`. The loop knows it, and closes it in `shutdown_asyncgens`,
    which `asyncio.run`, `asyncio.Runner` and anyio's portals call. A loop that is only closed cleans nothing up.
    """

    async def wait() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await clean_up()

    generator = wait()
    with suppress(StopIteration):
        generator.asend(None).send(None)  # runs to the `yield`, without anything to wait for
    return generator
