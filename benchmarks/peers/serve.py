"""Serves a peer with uvicorn, the garbage collector relaxed: `python -m benchmarks.peers.serve litestar 8000`."""

import importlib
import sys

import uvicorn

from benchmarks.peers.collector import relax


def main() -> None:
    name, port = sys.argv[1:]
    app = importlib.import_module(f"benchmarks.peers.{name}").app
    relax()
    uvicorn.run(app, port=int(port), loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
