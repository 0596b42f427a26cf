"""Where the machines are: each in a network namespace of its own, with one cable to the host; or all on 127.0.0.1.

A namespace has nothing but its cable (a veth pair), and no route but to the host's end of it: what is not offered
there does not exist for the machine. Names carry this process's id, so that what a killed run leaves is recognised.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

HOST = "127.0.0.1"
FIRST = IPv4Address("198.18.0.0")
"""Of the networks that are reserved for tests of networks (RFC 2544): four addresses for each machine."""

EACH, MACHINES, PLACES = 4, 4, 8_192


class NotHere(Exception):
    """This machine does not let us make namespaces."""


@dataclass(frozen=True)
class Site:
    """A place for a machine. `at`: its own address, `host`: where it finds all others, `under`: the command that puts
    a process there.
    """

    at: str = HOST
    host: str = HOST
    under: Sequence[str] = ()
    cable: str | None = None

    def pull(self) -> None:
        """Pull the cable: both ends see that there is none."""
        assert self.cable
        _ip("link", "set", self.cable, "down")

    def plug(self) -> None:
        assert self.cable
        _ip("link", "set", self.cable, "up")


@contextmanager
def sites(count: int) -> Iterator[list[Site]]:
    """So many places, in namespaces where that is allowed: whoever wants to know looks whether they have a cable."""
    with ExitStack() as stack:
        yield _entered(stack, count) or [Site() for _ in range(count)]


def _entered(stack: ExitStack, count: int) -> list[Site]:
    try:
        return [stack.enter_context(_namespace(number)) for number in range(count)]
    except NotHere:
        return []


@contextmanager
def _namespace(number: int) -> Iterator[Site]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise NotHere
    pid = os.getpid()
    name, cable = f"headgate-{pid}-{number}", f"hg{pid}-{number}"
    net = FIRST + EACH * (MACHINES * (pid % PLACES) + number)
    try:
        _ip("netns", "add", name)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("addr", "add", f"{net + 1}/30", "dev", cable)
        _ip("-n", name, "addr", "add", f"{net + 2}/30", "dev", "eth0")
        # without its cable, nothing for the machine may look for another way out of this host
        _ip("route", "add", "unreachable", f"{net}/30", "metric", "9999")
        _ip("link", "set", cable, "up")
        _ip("-n", name, "link", "set", "eth0", "up")
        yield Site(str(net + 2), str(net + 1), ("ip", "netns", "exec", name), cable)
    finally:
        for rest in (
            ["route", "del", "unreachable", f"{net}/30", "metric", "9999"],
            ["link", "del", cable],
            ["netns", "del", name],
        ):
            with suppress(NotHere):  # it was not made
                _ip(*rest)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHere(f"ip {' '.join(words)}: {done.stderr.strip()}")
