"""Event loops: clean-up before the running loop ends."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress


def before_loop_ends(clean_up: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Let the running event loop await `clean_up` before it ends. The caller must keep the result until then.

    The result is an asynchronous generator, suspended at its `yield`. The loop closes it in `shutdown_asyncgens`, which
    `asyncio.run`, `asyncio.Runner` and anyio's portals call. A loop that is only closed does not clean up.
    """

    async def wait() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await clean_up()

    generator = wait()
    with suppress(StopIteration):
        generator.asend(None).send(None)  # runs to the `yield` without suspending before it
    return generator
