"""The configuration of etcd, Patroni, HAProxy and PgBouncer, for a cluster on one machine."""

import json
from pathlib import Path
from typing import Any

from tests.cluster.places import DATABASE, LOCAL, NODES, PASSWORD, Places

TTL, LOOP_WAIT, RETRY_TIMEOUT = 20, 7, 6
"""Seconds of Patroni. The key of the leader lives for TTL after it was renewed, every LOOP_WAIT; 20 is the least."""
SUPERUSER = {"username": "postgres", "password": "postgres"}
SCOPE = "heroes"


def etcd(places: Places, node: int) -> list[str]:
    """Return the options of an etcd."""
    client, peer = (f"http://{LOCAL}:{ports[node - 1]}" for ports in (places.etcd, places.etcd_peers))
    members = ",".join(f"etcd{other}=http://{LOCAL}:{places.etcd_peers[other - 1]}" for other in NODES)
    options = {
        "name": f"etcd{node}",
        "data-dir": f"{places.folder}/etcd{node}",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": members,
        "initial-cluster-state": "new",
        "logger": "zap",
    }
    return [f"--{name}={value}" for name, value in options.items()]


def patroni(places: Places, node: int, programs: Path) -> str:
    """Return the configuration of a Patroni: YAML, of which JSON is a part."""
    rest, postgres = (f"{LOCAL}:{ports[node - 1]}" for ports in (places.patroni, places.postgres))
    users = {"replication": "replicator", "rewind": "rewinder"}
    configuration: dict[str, Any] = {
        "scope": SCOPE,
        "name": f"pg{node}",
        "restapi": {"listen": rest, "connect_address": rest},
        "etcd3": {"hosts": [f"{LOCAL}:{port}" for port in places.etcd]},
        "bootstrap": {
            "dcs": shared(),
            "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"],
        },
        "postgresql": {
            "listen": postgres,
            "connect_address": postgres,
            "data_dir": str(places.data(node)),
            "bin_dir": str(programs),
            "pgpass": f"{places.folder}/data/pgpass{node}",
            "authentication": {"superuser": SUPERUSER}
            | {use: {"username": name, "password": name} for use, name in users.items()},
            "parameters": {"unix_socket_directories": f"{places.folder}/data"},
            "pg_hba": [
                f"host all all {LOCAL}/32 scram-sha-256",
                f"host replication replicator {LOCAL}/32 scram-sha-256",
                "local all all scram-sha-256",
            ],
        },
        "watchdog": {"mode": "off"},  # on a machine of its own: `required`
    }
    return json.dumps(configuration, indent=2)


def shared() -> dict[str, Any]:
    """Return the part of Patroni's configuration that the cluster shares, and that etcd keeps."""
    parameters = {
        "wal_level": "logical",
        "wal_log_hints": "on",
        "hot_standby": "on",
        "hot_standby_feedback": "on",
        "max_connections": 200,
        "max_wal_size": "256MB",
        "shared_buffers": "64MB",
        "synchronous_commit": "on",
    }
    return {
        "ttl": TTL,
        "loop_wait": LOOP_WAIT,
        "retry_timeout": RETRY_TIMEOUT,
        "maximum_lag_on_failover": 1_048_576,
        "synchronous_mode": True,
        "synchronous_mode_strict": True,
        "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": parameters},
    }


def haproxy(places: Places) -> str:
    """Return the configuration of HAProxy: the primary, the standbys, the services, and a page with statistics."""
    postgres = "\n".join(
        f"  server pg{node} {LOCAL}:{places.postgres[node - 1]} check port {places.patroni[node - 1]}" for node in NODES
    )
    services = "\n".join(
        f"  server service{number} {LOCAL}:{port} check" for number, port in enumerate(places.services, 1)
    )
    return f"""
global
  maxconn 1000
defaults
  mode tcp
  timeout connect 2s
  timeout client 30m
  timeout server 30m
  timeout check 2s

listen primary
  bind {LOCAL}:{places.primary}
  option httpchk OPTIONS /primary
  http-check expect status 200
  default-server inter 1s fastinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{postgres}

listen standbys
  bind {LOCAL}:{places.standbys}
  balance leastconn
  option httpchk OPTIONS /replica?lag=16MB
  http-check expect status 200
  default-server inter 1s fastinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{postgres}

listen services
  bind {LOCAL}:{places.front}
  mode http
  timeout client 60s
  timeout server 30s
  option httpchk GET /health/ready
  retries 3
  option redispatch
  retry-on conn-failure
  default-server inter 250ms fall 2 rise 1
{services}

listen statistics
  bind {LOCAL}:{places.statistics}
  mode http
  timeout client 60s
  timeout server 30s
  stats enable
  stats uri /
  stats refresh 2s
"""


def pgbouncer(places: Places) -> str:
    """Return the configuration of PgBouncer, in transaction mode, before HAProxy."""
    login = f"dbname={DATABASE} user={DATABASE} password={PASSWORD}"
    return f"""
[databases]
{DATABASE} = host={LOCAL} port={places.primary} {login}

[pgbouncer]
listen_addr = {LOCAL}
listen_port = {places.pgbouncer}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
max_client_conn = 1000
server_connect_timeout = 3
server_login_retry = 1
query_wait_timeout = 15
logfile = {places.folder}/data/pgbouncer.log
pidfile = {places.folder}/data/pgbouncer.pid
"""
