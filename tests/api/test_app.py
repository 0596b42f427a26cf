"""The application as FastAPI users know one: `with TestClient(main.app)`, without `with`, and imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import main
from headgate.api.problems import answer
from headgate.bootstrap import make_app
from headgate.core.errors import HeadgateError, SourceMisconfigured, StoreMisused
from tests.api.client import UNLIMITED, Api, assert_problem, client_of, until
from tests.api.conftest import Environment, on_a_file

ROOT = Path(main.__file__).parent

WHY = "without a lifespan nothing is dispatched"


# -- with a lifespan -----------------------------------------------------------------------------------------


@on_a_file
def test_main_app_works_with_a_test_client(environment: Environment, folder: Path):
    environment(UNLIMITED)

    with TestClient(main.app) as client:
        accepted = client.post("/ingest", json={"ids": [1, 2, 3, 4]}).json()["ingestion_id"]
        seen = until(
            lambda: (
                found
                if (found := client.get(f"/status/{accepted}").json())["status"] == "completed"
                else None
            ),
            "it is completed",
        )

    assert [batch["ids"] for batch in seen["batches"]] == [[1, 2, 3], [4]]
    assert (folder / "headgate.db").exists()


def test_what_one_client_accepted_the_next_one_finds(environment: Environment):
    environment(worker="false")
    app = make_app()

    with client_of(app) as first:
        accepted = first.ingest(1, 2)
        batches = first.status(accepted)["batches"]
    with client_of(app) as second:
        assert second.status(accepted)["batches"] == batches


def test_two_applications_on_one_file_see_each_other(environment: Environment):
    environment(worker="false")

    with client_of(make_app()) as one, client_of(make_app()) as other:
        accepted = one.ingest(1, 2)

        assert other.status(accepted) == one.status(accepted)


def test_the_database_is_for_its_owner_alone(environment: Environment, folder: Path):
    environment(database_url=f"sqlite:///{folder}/new/headgate.db", worker="false")

    with client_of(make_app()) as api:
        api.ingest(1)

    assert (folder / "new" / "headgate.db").stat().st_mode & 0o777 == 0o600
    assert (folder / "new").stat().st_mode & 0o777 == 0o700


def store_at(folder: Path, name: str) -> str:
    return f"sqlite:///{folder}/{name}.db"


def test_a_lifespan_opens_what_is_named_then_whatever_a_request_had_opened(
    bare: Api, environment: Environment, folder: Path
):
    early = bare.ingest(1)
    environment(database_url=store_at(folder, "later"), worker="false")

    with client_of(bare.app) as api:
        late = api.ingest(2)

        assert api.listed() == [late]
    environment()
    assert bare.listed() == [early]


@on_a_file
def test_a_lifespan_closes_what_a_request_had_opened(
    bare: Api, environment: Environment, folder: Path
):
    bare.ingest(1)
    assert len(list(folder.glob("*.alive"))) == 1
    environment(database_url=store_at(folder, "later"), worker="false")

    with client_of(bare.app):
        present = [file.name.partition(".")[0] for file in folder.glob("*.alive")]

    assert present == ["later"]


def test_a_lifespan_dispatches_what_a_request_had_opened_and_accepted(
    bare: Api, environment: Environment
):
    environment(UNLIMITED)
    accepted = bare.ingest(1, 2, 3, 4)

    with client_of(bare.app) as api:
        assert api.ended(accepted)["status"] == "completed"


def test_a_lifespan_that_cannot_open_what_is_named_leaves_what_a_request_had_opened(
    bare: Api, environment: Environment, folder: Path
):
    accepted = bare.ingest(1)
    environment(database_url=f"sqlite:///{folder}/headgate.toml/none.db")

    with pytest.raises(SourceMisconfigured), TestClient(bare.app):
        pass

    environment()
    assert bare.listed() == [accepted]


# -- without a lifespan --------------------------------------------------------------------------------------


def test_without_a_lifespan_submit_and_status_work(bare: Api):
    accepted = bare.ingest(1, 2, 3, 4)

    seen = bare.status(accepted)

    assert [batch["ids"] for batch in seen["batches"]] == [[1, 2, 3], [4]]


def test_without_a_lifespan_nothing_is_dispatched(bare: Api):
    accepted = bare.ingest(1, 2, 3, 4)

    assert bare.app.state.backend._worker._tasks == []
    assert bare.status(accepted)["status"] == "yet_to_start"


def test_without_a_lifespan_v1_works_too(bare: Api):
    accepted = bare.accept(1, 2, 3, 4)["ingestion_id"]

    assert bare.look(accepted)["status"] == "yet_to_start"
    assert len(bare.batches(accepted)) == 2
    assert bare.listed() == [accepted]
    assert bare.cancel(accepted).json()["ingestion"]["status"] == "cancelled"


def test_without_a_lifespan_one_line_says_why_nothing_is_dispatched(
    bare: Api, capsys: pytest.CaptureFixture[str]
):
    for _ in range(3):
        bare.status(bare.ingest(1))

    assert capsys.readouterr().err.count(WHY) == 1


def test_with_a_lifespan_no_such_line_is_said(
    environment: Environment, capsys: pytest.CaptureFixture[str]
):
    environment(worker="false")

    with client_of(make_app()) as api:
        api.ingest(1)

    assert WHY not in capsys.readouterr().err


def test_what_was_accepted_without_a_lifespan_is_done_once_there_is_one(
    bare: Api, environment: Environment
):
    environment(UNLIMITED)
    accepted = bare.ingest(1, 2, 3, 4)

    with client_of(make_app()) as api:
        assert api.ended(accepted)["status"] == "completed"


def test_without_a_lifespan_another_database_is_opened_once_it_is_named(
    bare: Api, environment: Environment, folder: Path
):
    first = bare.ingest(1)

    environment(database_url=store_at(folder, "later"))
    second = bare.ingest(2)

    assert bare.listed() == [second]
    environment()
    assert bare.listed() == [first]


def test_without_a_lifespan_a_name_counts_from_the_folder_of_now(
    bare: Api, environment: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    environment(database_url="sqlite:///here.db")
    first = bare.ingest(1)
    (folder / "elsewhere").mkdir()

    monkeypatch.chdir(folder / "elsewhere")

    assert bare.client.get(f"/status/{first}").status_code == 404
    assert (folder / "elsewhere" / "here.db").exists()


def test_without_a_lifespan_what_has_no_say_in_it_changes_nothing(
    bare: Api, monkeypatch: pytest.MonkeyPatch
):
    bare.ingest(1)
    opened = bare.app.state.backend

    monkeypatch.setenv("SOMETHING_ELSE", "1")
    bare.ingest(2)

    assert bare.app.state.backend is opened


@pytest.mark.parametrize("path", ["/status/x", "/v1/ingestions/x"])
def test_a_store_that_a_request_cannot_open_is_unavailable_and_tells_strangers_nothing(
    bare: Api, environment: Environment, folder: Path, path: str
):
    environment(database_url=f"sqlite:///{folder}/headgate.toml/secret-name.db")

    answer = bare.client.get(path)

    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert "secret-name" not in answer.text
    if path.startswith("/v1"):
        assert_problem(answer, 503)


# -- importing -----------------------------------------------------------------------------------------------

WATCHED = """
import os, sys, threading

done = []

def watch(event, details):
    if event == "open":
        path, mode, flags = details
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC):
            done.append((event, str(path)))
    elif event.split(".")[0] in {"socket", "sqlite3", "subprocess"} or event in {
        "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.fork", "os.system", "shutil.move"
    }:
        done.append((event, details))

sys.addaudithook(watch)
import main
assert main.app is not None
sys.exit(f"did {done}" if done else f"threads {threading.enumerate()}" if threading.active_count() > 1 else 0)
"""


@pytest.mark.slow
def test_importing_main_touches_nothing_and_minds_no_configuration(tmp_path: Path):
    here = tmp_path / "here"
    here.mkdir()
    environ = {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        "HOME": str(here),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HEADGATE_DATABASE_URL": "nonsense",
        "HEADGATE_PORT": "none",
    }

    ran = subprocess.run(
        [sys.executable, "-c", WATCHED],
        cwd=here,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert list(here.rglob("*")) == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(SourceMisconfigured('no such user "hunter"'), 503), (StoreMisused("row of hunter"), 500)],
)
def test_what_is_ours_to_mend_is_for_our_log_and_not_for_strangers(
    error: HeadgateError, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    response = answer(error, "/v1/ingestions")

    assert response.status_code == status
    assert b"hunter" not in response.body
    assert "hunter" in caplog.text
