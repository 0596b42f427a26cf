"""Machines: groups of processes, each group on a site of its own, on one PostgreSQL that each reaches over a link.

A machine calls the source over a second link, and is asked over a third one; these two are good, but for its cable.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.machines.links import Handle, Proxy
from tests.machines.network import HOST, Site, sites
from tests.postgres import PostgresServer
from tests.process.gate import Gate, Server
from tests.processes import free_port
from tests.simulator.process import RunningServer

HEADGATE = (sys.executable, "-m", "headgate")
SERVE = ("serve", "--insecure-no-auth")
API_ONLY = (*SERVE, "--no-worker")
WORKER = ("worker",)

ROLES: dict[str, Sequence[Sequence[str]]] = {
    "both": [SERVE],
    "apart": [API_ONLY, WORKER],
    "worker": [WORKER],
}
"""Three machines as people make them: one process for all, two that share the work, and one without an API."""


@dataclass
class Machine:
    """One of them. Each of its processes keeps its port over all its lives."""

    name: str
    site: Site
    database: Handle
    gate: Gate
    url: str
    roles: Sequence[Sequence[str]]
    ports: Sequence[int]
    processes: list[Server] = field(default_factory=list)

    def start(self) -> Machine:
        """Start its processes, and do not wait for them."""
        self.processes = [
            self.gate.start(
                command=[*HEADGATE, *role, "--host", self.site.at],
                config=f"{self.name}.toml",
                under=self.site.under,
                port=port,
                HEADGATE_DATABASE_URL=self.url,
            )
            for role, port in zip(self.roles, self.ports, strict=True)
        ]
        return self

    def ready(self) -> Machine:
        for each in self.processes:
            each.ready()
        return self

    def signal(self, number: signal.Signals) -> None:
        for each in self.processes:
            each.signal(number)

    def kill(self) -> None:
        """`kill -9`: all of it at once."""
        self.signal(signal.SIGKILL)
        for each in self.processes:
            each.ended()

    @property
    def api(self) -> Server | None:
        """The process that takes submissions, if it has one."""
        found = [p for role, p in zip(self.roles, self.processes, strict=True) if role != WORKER]
        return found[0] if found else None


@dataclass
class Crew:
    """All of them, with the source that they call and the database that they share."""

    machines: list[Machine]
    source: RunningServer
    database: PostgresServer
    gate: Gate

    @property
    def apis(self) -> list[Server]:
        return [each.api for each in self.machines if each.api is not None]

    @property
    def has_cables(self) -> bool:
        return all(each.site.cable for each in self.machines)

    @property
    def where(self) -> str:
        """Said loudly: it is not the same."""
        if self.has_cables:
            return "machines in NETWORK NAMESPACES, each on a cable of its own"
        return "machines as process groups ON 127.0.0.1: namespaces are not allowed here"

    def callers(self) -> Counter[str]:
        """How many calls each machine has made, by the source's log."""
        return Counter(each["headers"]["x-machine"] for each in self.source.requests())


@contextmanager
def crew(
    gate: Gate,
    source: RunningServer,
    database: PostgresServer,
    roles: dict[str, Sequence[Sequence[str]]] = ROLES,
) -> Iterator[Crew]:
    """Start machines with these roles, and wait until all are ready; the gate ends them."""
    with sites(len(roles)) as places, Proxy() as proxy:
        machines = [
            _machine(name, roles[name], site, proxy, gate, source, database)
            for name, site in zip(roles, places, strict=True)
        ]
        try:
            for each in machines:
                each.start()
            for each in machines:
                each.ready()
            yield Crew(machines, source, database, gate)
        finally:
            gate.close()  # a namespace lives as long as a process in it


def _machine(
    name: str,
    roles: Sequence[Sequence[str]],
    site: Site,
    proxy: Proxy,
    gate: Gate,
    source: RunningServer,
    database: PostgresServer,
) -> Machine:
    link = proxy.link(f"{name} database", listen=site.host, target=(HOST, database.port))
    calls = proxy.link(f"{name} source", listen=site.host, target=(HOST, source.port))
    gate.configure(
        f"{name}.toml",
        headers={"x-machine": name},
        url=f"http://{site.host}:{calls.port}/items{{?ids}}",
    )
    ports = [free_port() for _ in roles]
    for port in ports if site.at != HOST else []:
        proxy.link(f"{name} {port}", listen=HOST, port=port, target=(site.at, port))
    assert gate.postgres
    url = f"postgresql://postgres@{site.host}:{link.port}/{gate.postgres.rpartition('/')[2]}"
    return Machine(name, site, link, gate, f"{url}?application_name={name}", roles, ports)
