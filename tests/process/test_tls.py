"""A database that takes nothing but TLS: whoever knows its certificate works, and others are told what is wrong.

The server of the wheel was built without TLS: `HEADGATE_TEST_POSTGRES_BIN` names the programs of one that has it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer, create_database, has_tls, run_sql
from tests.process.conftest import MakeGate
from tests.process.engines import on_postgres
from tests.process.judge import arrivals
from tests.process.waiting import eventually
from tests.processes import free_port, give_away, open_folder
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow, on_postgres]

NAME = "localhost"
ENCRYPTED = """
select 1 from pg_stat_ssl join pg_stat_activity using (pid)
where datname = current_database() and pid <> pg_backend_pid() and ssl
"""


class EncryptedServer(PostgresServer):
    """A server that refuses whoever comes without TLS, with a certificate for NAME that vouches for itself."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self._key = folder / "server.crt", folder / "server.key"
        self.strangers = folder / "stranger.crt"
        files = {"ssl_cert_file": str(self.certificate), "ssl_key_file": str(self._key)}
        super().__init__(folder, ssl="on", **files)

    def make(self, *options: str) -> None:
        super().make(*options)
        only = "hostssl all all 127.0.0.1/32 trust\n"
        (self.folder / "data" / "pg_hba.conf").write_text(only)
        _certify(self.certificate, self._key)
        _certify(self.strangers, self.folder / "stranger.key")
        self._key.chmod(0o600)
        give_away(self._key)


def _certify(certificate: Path, key: Path) -> None:
    named = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    made = ["openssl", "req", "-x509", "-days", "2", "-newkey", "rsa:2048", "-nodes"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made, *named, *files], check=True, capture_output=True)


@pytest.fixture(scope="module")
def encrypted() -> Iterator[EncryptedServer]:
    if not has_tls():
        pytest.skip("this PostgreSQL was built without TLS: HEADGATE_TEST_POSTGRES_BIN")
    with open_folder("headgate-tls-") as folder:
        server = EncryptedServer(folder / "server")
        server.make()
        try:
            server.start()
            yield server
        finally:
            server.stop()


def url_of(server: EncryptedServer, host: str, query: str) -> str:
    create_database(f"{server.url}?sslmode=require", "encrypted")
    return f"postgresql://postgres@{host}:{server.port}/encrypted?{query}"


def test_whoever_knows_its_certificate_works(
    encrypted: EncryptedServer, source: RunningServer, make_gate: MakeGate
) -> None:
    trusted = f"sslmode=verify-full&sslrootcert={encrypted.certificate}"
    gate = make_gate(source, "50/s", postgres=url_of(encrypted, NAME, trusted))
    servers = [gate.start(port=free_port()) for _ in range(2)]
    for each in servers:
        each.ready()

    accepted = servers[0].ask("POST", "/ingest", {"ids": [1, 2, 3, 4], "priority": "HIGH"})

    assert accepted.status == 200
    eventually(lambda: len(arrivals(source)) == 2, "both batches are called")
    assert len(run_sql(gate.postgres or "", ENCRYPTED)) >= len(servers)


@pytest.mark.parametrize(
    ("host", "query", "said"),
    [
        ("127.0.0.1", "sslmode=verify-full&sslrootcert={certificate}", "IP address mismatch"),
        (NAME, "sslmode=verify-full&sslrootcert={strangers}", "self-signed certificate"),
        (NAME, "sslmode=verify-full&sslrootcert={folder}/none.crt", "sslrootcert"),
        ("127.0.0.1", "sslmode=disable", "no encryption"),
    ],
    ids=["another name", "a signer that nobody knows", "no such certificate", "in clear"],
)
def test_who_cannot_be_sure_of_it_ends_and_says_why(
    host: str,
    query: str,
    said: str,
    encrypted: EncryptedServer,
    source: RunningServer,
    make_gate: MakeGate,
) -> None:
    query = query.format(
        certificate=encrypted.certificate, strangers=encrypted.strangers, folder=encrypted.folder
    )
    server = make_gate(source, postgres=url_of(encrypted, host, query)).start()

    assert server.ended() not in {0, None}
    assert said in server.last_words()
