"""The commands of `make cluster…`: `python -m tests.cluster start|stop|kill|kill node|freeze|switch`."""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster import programs
from tests.cluster.cluster import FREEZE_SECONDS, Cluster, running, starter_of
from tests.cluster.configuration import LOOP_WAIT, TTL
from tests.cluster.places import LOCAL, Places

PARENT = Path(tempfile.gettempdir())
PREFIX = "cluster-of-services-"
ENDING = (signal.SIGINT, signal.SIGTERM)
SHOWN = """
  services       http://{local}:{services[0]}/docs, which knows all hosts of PostgreSQL
                 http://{local}:{services[1]}/docs, behind PgBouncer and HAProxy
  both           http://{local}:{front}/docs (by HAProxy)
  PostgreSQL     {hosts}
  primary        {primary} (by HAProxy), {pooled} (by PgBouncer and HAProxy)
  standbys       {standbys} (by HAProxy)
  HAProxy        http://{local}:{statistics}/
  Patroni        http://{local}:{patroni}/cluster
  logs           {folder}/log

  make cluster-switch, make cluster-kill, make cluster-kill NODE=1 and make cluster-freeze break it.
  Ctrl-C, or make cluster-stop, ends it."""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def found() -> Cluster:
    """Return the running cluster. Exits with a message if there is none."""
    for folder in PARENT.glob(f"{PREFIX}*"):
        if starter_of(folder) is not None and (folder / "places.json").exists():
            return Cluster(Places.read(folder))
    sys.exit("No cluster runs: make cluster")


def start() -> None:
    """Start a cluster, and wait for a signal."""
    if missing := programs.missing():
        sys.exit("\n".join(missing))
    if any(starter_of(folder) is not None for folder in PARENT.glob(f"{PREFIX}*")):
        sys.exit("A cluster runs already: make cluster-stop")
    for kind in ENDING:
        signal.signal(kind, end_once)
    say("Starting three etcd, three PostgreSQL under Patroni, HAProxy, PgBouncer and two services …")
    with running(PARENT, PREFIX, usual=True) as cluster:
        places = cluster.places
        cluster.start_services()
        say(shown(places))
        signal.pause()


def end_once(*_: object) -> None:
    """End the cluster. Further signals do not interrupt that."""
    for kind in ENDING:
        signal.signal(kind, signal.SIG_IGN)
    say("\nEnding the cluster …")
    sys.exit(0)


def shown(places: Places) -> str:
    values = {
        "local": LOCAL,
        "services": places.services,
        "front": places.front,
        "hosts": places.by_hosts,
        "primary": places.by_haproxy,
        "pooled": places.by_pgbouncer,
        "standbys": places.url(f"{LOCAL}:{places.standbys}"),
        "statistics": places.statistics,
        "patroni": places.patroni[0],
        "folder": places.folder,
    }
    return SHOWN.format(**values)


def stop() -> None:
    cluster = found()
    starter = starter_of(cluster.folder)
    assert starter is not None
    os.kill(starter, signal.SIGTERM)
    cluster.until(lambda: not cluster.folder.exists(), 30)
    say("The cluster has ended.")


def kill(what: str = "") -> None:
    cluster = found()
    node = cluster.leader()
    if not what:
        cluster.kill_postmaster(node)
        seconds = 2 * LOOP_WAIT + 3
        say(f"Killed the PostgreSQL of the primary, pg{node}. Its Patroni starts it again, within {seconds} s.")
    else:
        key = cluster.seconds_of_key()
        cluster.kill_node(node)
        say(
            f"Killed the PostgreSQL and the Patroni of the primary, pg{node}. Its key lives for {key} s; then a standby"
        )
        say("takes over. Until then writes get a 503.")
    await_primary(cluster)
    if what:
        cluster.programs = programs.Programs.read(cluster.folder)
        cluster.start_node(node)
        say(f"Started Patroni of pg{node} again: it becomes a standby.")
    heal(cluster)


def freeze() -> None:
    cluster = found()
    node = cluster.leader()
    cluster.freeze(node)
    say(f"Froze the primary, pg{node}, and its Patroni for {FREEZE_SECONDS} s. Its key lives for at most {TTL} s;")
    say("then a standby takes over. Until then writes get a 503 or a 504.")
    time.sleep(FREEZE_SECONDS)
    cluster.thaw(node)
    say(f"Thawed pg{node}: it finds that it has lost its key, and becomes a standby.")
    heal(cluster)


def switch() -> None:
    former, new = found().switch_over()
    say(f"Switched from pg{former} to pg{new}; pg{former} becomes a standby.")
    heal(found())


def await_primary(cluster: Cluster) -> None:
    started = time.monotonic()
    cluster.until(cluster.has_primary, 60)
    say(f"pg{cluster.leader()} is the primary after {time.monotonic() - started:.0f} s.")


def heal(cluster: Cluster) -> None:
    cluster.until_healthy(120)
    say(f"pg{cluster.leader()} is the primary, with two standbys.")


COMMANDS = {"start": start, "stop": stop, "kill": kill, "freeze": freeze, "switch": switch}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
