"""What there is, is said, and what is said, is there.

`python -m tests.docs.test_documents` prints the drawing of the lifecycle for docs/architecture.md.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from headgate.api import schemas
from headgate.api.access import OPEN_PATHS
from headgate.cli.main import app as cli
from headgate.core import errors, plan, units
from headgate.core.lifecycle import MOVES
from headgate.core.model import Ending, Status
from headgate.core.quota import MAX_EXACT, Hold, Quota
from headgate.service import LARGE, UNSERVED
from headgate.settings.options import VARIABLES, load
from headgate.sources import http
from headgate.store.commands import claim, entries, ledger, rescue
from headgate.store.sqlite import engine as sqlite
from headgate.worker import dispatcher, keeper
from main import app
from tests.postgres import ELSEWHERE, OTHERS
from tests.processes import free_port

TOP = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(TOP)): path.read_text(encoding="utf-8")
    for path in sorted([*TOP.glob("*.md"), *TOP.glob("docs/**/*.md")])
}
README, API, GLOSSARY = PAGES["README.md"], PAGES["docs/api.md"], PAGES["docs/glossary.md"]
ARCHITECTURE, QUOTA = PAGES["docs/architecture.md"], PAGES["docs/quota.md"]
CONTRIBUTING = PAGES["CONTRIBUTING.md"]
MAKEFILE = (TOP / "Makefile").read_text(encoding="utf-8")
RECORDS = {name: text for name, text in PAGES.items() if name.startswith("docs/decisions/")}

WORDS = """
client
ingestion
batch
id
record
source
quota
window
grant
ledger
pace
slot
call
wire
turn
worker
claim
lease
fence
attempt
outcome
settle
throttled
not_before
dead letter
requeue
rescue
prune
duty
wake
delivery
fact
forecast
"""


def fences(text: str, kind: str) -> list[str]:
    """The blocks of code of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def in_ticks(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", without_code(text)))


def nothing(found: object) -> bool:
    return not found


# --- what there is, is said -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "route",
    [
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    ],
)
def test_every_route_has_a_section(route):
    assert re.search(rf"^### `{re.escape(route)}`$", API, re.MULTILINE)
    assert f"[`{route}`](#" in API


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
def test_every_open_path_is_named(path):
    assert path in in_ticks(API) or f"GET {path}" in in_ticks(API)


@pytest.mark.parametrize(
    "model", [model for model in vars(schemas).values() if isinstance(model, type)]
)
def test_every_field_that_is_taken_or_shown_is_named(model):
    fields = model.model_fields if issubclass(model, BaseModel) else ()

    assert nothing([name for name in fields if f"`{name}`" not in API and f'"{name}"' not in API])


@pytest.mark.parametrize("word", [*Status, *Ending])
def test_every_status_and_ending_is_explained(word):
    assert f"`{word}`" in API
    assert f"| `{word}` |" in GLOSSARY


def test_every_reason_to_wait_is_explained():
    reasons = {*get_args(get_args(schemas.ForecastOut.model_fields["waits_for"].annotation)[0])}

    assert reasons == {"ahead", UNSERVED, *Hold}
    assert nothing([reason for reason in reasons if f"| `{reason}` |" not in API])


def test_every_error_has_its_code_and_status():
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.HeadgateError) and kind.status != 500
    ]

    assert len(kinds) >= 8
    assert nothing([k for k in kinds if f"| `{k.code}` | {k.status} |" not in API])


def test_the_glossary_has_every_word_once():
    assert re.findall(r"^\| \*\*(.+?)\*\* \|", GLOSSARY, re.MULTILINE) == WORDS.strip().splitlines()


def test_every_command_and_flag_is_named():
    commands: Mapping[str, Any] = vars(typer.main.get_command(cli))["commands"]

    assert set(commands) == {"serve", "worker", "migrate", "release", "move", "check", "version"}
    for name, command in commands.items():
        row = re.search(rf"^\| `headgate {name}` \|.*$", README, re.MULTILINE)
        assert row, name
        assert nothing([p.opts[0] for p in command.params if f"`{p.opts[0]}`" not in row[0]])


def test_every_target_of_make_is_named():
    targets = re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)

    assert nothing([t for t in targets if t != "help" and f"`make {t}`" not in CONTRIBUTING])


def test_every_folder_of_tests_is_named():
    folders = {
        f"tests/{file.parent.relative_to(TOP / 'tests')}/"
        for file in (TOP / "tests").rglob("*.py")
        if file.name.startswith("test_") or file.name == "run.py"
    }

    assert nothing([folder for folder in folders if f"| `{folder}` |" not in CONTRIBUTING])


def test_every_table_of_the_store_is_named():
    migrations = "".join(
        file.read_text(encoding="utf-8")
        for file in (TOP / "headgate" / "store" / "sqlite" / "migrations").iterdir()
    )
    tables = {"schema_version", *re.findall(r"^create table (\w+)", migrations, re.MULTILINE)}

    section = ARCHITECTURE.partition("\n### Tables\n")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == tables


def test_every_dependency_has_its_reason():
    names = re.findall(r"^([a-z0-9-]+)>=", (TOP / "requirements.in").read_text(), re.MULTILINE)
    record = RECORDS["docs/decisions/0001-dependencies.md"]

    assert re.findall(r"^\| ([a-z0-9-]+) \| (?!what)", record, re.MULTILINE) == sorted(names)


# --- what is said, is there -----------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    here = (TOP / page).parent
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(PAGES[page]))

    for link in links:
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (here / target).resolve() if target else TOP / page
        assert path.exists(), link
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), link


def anchors(text: str) -> set[str]:
    """The anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_test_that_is_named_is_there(page):
    folders = "headgate|tests|benchmarks|scripts|deploy|docs|store"
    for named in re.findall(rf"`((?:{folders})/[\w./-]*)`", PAGES[page]):
        found = TOP / ("headgate" if named.startswith("store/") else "") / named
        assert found.exists(), named
    tests = set(re.findall(r"`(test_\w+)`", PAGES[page]))
    assert nothing(tests - all_tests())


def all_tests() -> set[str]:
    return {
        name
        for file in (TOP / "tests").rglob("test_*.py")
        for name in re.findall(r"^\s*(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_target_that_is_named_is_there(page):
    named = set(re.findall(r"`make ([a-z-]+)`", PAGES[page]))
    named |= set(re.findall(r"^make ([a-z-]+)$", PAGES[page], re.MULTILINE))

    assert nothing([t for t in named if not re.search(rf"^{t}:", MAKEFILE, re.MULTILINE)])


@pytest.mark.parametrize("page", PAGES)
def test_every_variable_that_is_named_is_known(page):
    named = set(re.findall(r"HEADGATE_[A-Z_]+[A-Z]", PAGES[page]))
    others = {"HEADGATE_FAILPOINT", "HEADGATE_SERVICE_HOST", ELSEWHERE, OTHERS}

    assert nothing(named - set(VARIABLES) - others)


@pytest.mark.parametrize("page", PAGES)
def test_no_page_knows_the_machine_that_it_was_written_on(page):
    assert nothing(re.findall(r"(?<![\w.])/(?:work|root|home|tmp|Users)/\S*", PAGES[page]))


@pytest.mark.parametrize("page", PAGES)
def test_prose_has_one_sentence_per_line(page):
    prose = re.sub(r"^(?:\||#).*$", "", without_code(PAGES[page]), flags=re.MULTILINE)

    assert nothing(re.findall(r"^.*[a-z`)*][.!?] [A-Z`*].*$", prose, re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "example"),
    re.findall(r"^```json (\w+)\n(.*?)^```", API, re.MULTILINE | re.DOTALL),
)
def test_every_example_of_the_api_has_the_shape_that_is_shown(name, example):
    model: type[BaseModel] = getattr(schemas, name)
    document = json.loads(example)

    assert model.model_validate(document).model_dump(mode="json") == document


def test_the_lifecycle_is_drawn_from_its_table():
    drawn = re.search(
        r"<!-- lifecycle: begin -->\n(.*)<!-- lifecycle: end -->", ARCHITECTURE, re.DOTALL
    )

    assert drawn
    assert drawn[1] == drawing()


def drawing() -> str:
    """The legal moves as GitHub draws them."""
    moves = [
        f"    {before} --> {after}"
        for before in Status
        for after in Status
        if after in MOVES[before]
    ]
    ends = [f"    {status} --> [*]" for status in Status if not MOVES[status]]
    begin = f"    [*] --> {next(iter(Status))}"
    return "\n".join(["```mermaid", "stateDiagram-v2", begin, *moves, *ends, "```", ""])


def test_the_layers_are_those_of_the_import_contract():
    contracts = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]

    assert fences(ARCHITECTURE, "text")[0].splitlines() == contracts["contracts"][0]["layers"]


def test_what_the_rule_costs_is_computed_by_the_rule():
    rows = re.findall(
        r"^\| `([^`]+)` \| `(\w+)` \| `?([\w ]+?)`? \| ([\d.]+) \|$", QUOTA, re.MULTILINE
    )

    assert len(rows) >= 6
    for quota, latency, within, share in rows:
        line = plan.Line(
            [Quota("q", (units.window(quota),))],
            [[]],
            concurrency=1,
            in_flight=0,
            latency_us=units.duration_us(latency),
            within_us=None if within == "not set" else units.duration_us(within),
        )
        assert f"{plan.usable_share(line):.3f}" == share, quota


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("docs/architecture.md", f"over {LARGE:,} ids"),
        ("docs/architecture.md", f"after {sqlite.GROUP_US // 1_000} ms"),
        ("docs/architecture.md", f"gives up after {sqlite.BUSY_S:g} s"),
        ("docs/architecture.md", f"looks again after {dispatcher.POLL_US // 1_000_000} s"),
        ("docs/architecture.md", f"renewed every {keeper.RENEW_S:g} s"),
        ("docs/quota.md", f"the newest {entries.KEPT_CALLS} of each source"),
        ("docs/quota.md", f"up to {MAX_EXACT:,} calls is counted entry by entry"),
        ("docs/quota.md", f"at most {claim.AHEAD_US // 1_000} ms ahead"),
        ("docs/quota.md", f"up to {dispatcher.MOST_AT_ONCE}, each for an instant"),
        ("docs/quota.md", f"windows of up to {ledger.SHORT_WINDOW_US // 60_000_000} minutes"),
        ("docs/decisions/0002-statements-on-the-loop.md", f"after {sqlite.GROUP_US // 1_000} ms"),
        (
            "docs/decisions/0004-rescue-burns-no-attempt.md",
            f'"lost with its worker {rescue.RESCUES} times"',
        ),
        ("docs/decisions/0009-forecast-by-granting.md", f"up to {plan.EXACT:,} calls ahead"),
        ("docs/decisions/0011-the-pool-not-the-client.md", f"for {http.KEEP_ALIVE_S:g} s only"),
    ],
)
def test_numbers_are_those_of_the_code(page, words):
    assert words in PAGES[page]


def test_the_picture_of_a_run_is_there_and_asks_nobody_outside():
    picture = (TOP / "docs" / "demo.svg").read_text(encoding="utf-8")

    assert "](docs/demo.svg)" in README
    assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert nothing(re.findall(r"(?:href|src|url)\s*[=(]\s*[\"']?https?:", picture))


def test_every_promise_is_answered_for():
    numbers = re.findall(r"^## I(\d+)\. ", PAGES["docs/guarantees.md"], re.MULTILINE)
    sections = re.split(r"^## I\d+\. ", PAGES["docs/guarantees.md"], flags=re.MULTILINE)[1:]

    assert numbers == [str(number) for number in range(1, 21)]
    assert nothing([s for s in sections if not re.search(r"^- (Shown|Figure|Not yet)", s, re.M)])


# --- decisions --------------------------------------------------------------------------------------


def test_decisions_are_numbered_without_a_gap():
    numbers = [int(Path(name).name[:4]) for name in RECORDS]

    assert numbers == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("name", RECORDS)
def test_a_decision_has_its_parts_on_one_page(name):
    text = RECORDS[name]
    parts = re.findall(r"^## (.+)$", text, re.MULTILINE)

    assert text.startswith(f"# {Path(name).name[:4]}. ")
    assert parts == ["Context", "Decision", "Consequences", "Alternatives", "References"]
    assert len(text.splitlines()) <= 70


@pytest.mark.parametrize("name", RECORDS)
def test_a_decision_can_be_quoted_in_one_line(name):
    decision = re.split(r"^## ", RECORDS[name], flags=re.MULTILINE)[2]

    assert len(re.findall(r"^> \S.*\.$", decision, re.MULTILINE)) == 1


# --- the ways to run it -----------------------------------------------------------------------------


def test_the_example_of_a_source_in_the_readme_is_right(tmp_path):
    (tmp_path / "headgate.toml").write_text(fences(README, "toml")[0], encoding="utf-8")

    found = load({"CATALOG_TOKEN": "secret"}, cwd=tmp_path)

    assert (found.default_source, found.sources[0].type) == ("catalog", "http")


def test_platforms_start_what_the_readme_says():
    command = "uvicorn main:app --host 0.0.0.0 --port $PORT"
    railway = json.loads((TOP / "railway.json").read_text())

    assert (TOP / "Procfile").read_text() == f"web: {command}\n"
    assert railway["deploy"]["startCommand"] == command
    assert command in PAGES["docs/deploying.md"]


def test_the_unit_of_systemd_sets_what_is_known_and_locks_the_rest():
    unit = (TOP / "deploy" / "headgate.service").read_text(encoding="utf-8")
    lines = set(unit.splitlines())

    assert set(re.findall(r"^Environment=(HEADGATE_\w+)", unit, re.MULTILINE)) <= set(VARIABLES)
    assert {"DynamicUser=yes", "StateDirectory=headgate", "ProtectSystem=strict"} <= lines
    assert "NoNewPrivileges=yes" in lines
    assert "ProcSubset=pid" not in lines  # the boot id could not be read


@contextmanager
def running(command: str, folder: Path) -> Iterator[str]:
    """Run a command that serves until the `with` ends, on a port and a database of its own; yields its address."""
    port = free_port()
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command.replace('8000', str(port))}"],
        cwd=TOP,
        env=environment(folder, port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(address, process)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=20)


def environment(folder: Path, port: int) -> dict[str, str]:
    """That of a machine on which nothing is configured, and this environment's programs come first."""
    ours = {n: v for n, v in os.environ.items() if not n.startswith("HEADGATE_")}
    nothing_configured = folder / "headgate.toml"
    nothing_configured.touch()
    return {
        **ours,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PORT": str(port),
        "DATABASE_URL": "",
        "HEADGATE_CONFIG": str(nothing_configured),
        "HEADGATE_DATABASE_URL": f"sqlite:///{folder}/headgate.db",
    }


def wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(process.communicate()[1].decode())
        try:
            if get(f"{address}/readyz").strip() == b"ready":
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise AssertionError(f"nothing answers at {address}")


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[str]:
    """What `make run` runs."""
    recipe = re.search(r"^run:.*\n\t@?(.+)$", MAKEFILE, re.MULTILINE)
    assert recipe
    command = recipe[1].replace("$(BIN)/python", shlex.quote(sys.executable))
    folder = tmp_path_factory.mktemp("readme")
    with running(f"{command} --port 8000", folder) as address:
        yield address


@pytest.mark.process
@pytest.mark.slow
def test_the_first_commands_of_the_readme_answer_as_is_shown(served):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here: the README's commands were not run")
    trial = README.partition("## Try it\n")[2].partition("\n## ")[0]
    pairs = re.findall(r"^```sh\n(.*?)^```.*?^```json\n(.*?)^```", trial, re.M | re.S)
    assert len(pairs) == trial.count("```sh") == 4

    with shell() as typed:
        for commands, shown in pairs:
            said = typed_until_as_long(
                shown, commands.replace("http://127.0.0.1:8000", served), typed
            )
            assert [shape(json.loads(line)) for line in said] == [
                shape(json.loads(line)) for line in shown.splitlines()
            ]


Typed = Callable[[str], list[str]]
"""Types commands as they stand, and waits for all that they print."""


@contextmanager
def shell() -> Iterator[Typed]:
    """A shell as somebody has it open who follows the README: what one command sets, the next one has."""
    end = "that was all"
    process = subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    give_up = threading.Timer(60, process.kill)
    give_up.start()

    typing, printed = process.stdin, process.stdout
    assert typing
    assert printed

    def typed(commands: str) -> list[str]:
        typing.write(f"{commands}\necho; echo '{end}'\n")
        typing.flush()
        said = itertools.takewhile(lambda line: line != f"{end}\n", printed)
        return [line.rstrip("\n") for line in said if line.strip()]

    try:
        yield typed
    finally:
        give_up.cancel()
        process.communicate(timeout=20)


def typed_until_as_long(shown: str, commands: str, typed: Typed) -> list[str]:
    """What commands print, once it is as many lines as are shown: records come after a while."""
    deadline = time.monotonic() + 20
    said = typed(commands)
    while len(said) < len(shown.splitlines()) and time.monotonic() < deadline:
        time.sleep(0.05)
        said = typed(commands)
    return said


def shape(value: object) -> object:
    """The names in a document; of what changes from run to run, only that it is there."""
    match value:
        case dict():
            return {name: shape(each) for name, each in value.items()}
        case list():
            return [shape(each) for each in value]
        case _:
            return ...


@pytest.mark.process
@pytest.mark.slow
def test_the_page_that_the_readme_sends_people_to_is_there(served):
    assert "Open the address in a browser" in README
    assert b"<html" in get(f"{served}/").lower()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("more", ["", "--workers 4"])
def test_uvicorn_serves_as_the_readme_says(more, tmp_path):
    found = re.search(r"^uvicorn main:app.*$", README, re.MULTILINE)
    assert found
    assert f"`{more}`" in README or not more

    with running(f"{found[0]} {more}".replace("0.0.0.0", "127.0.0.1"), tmp_path) as address:
        assert get(f"{address}/healthz").strip() == b"ok"


@pytest.mark.process
@pytest.mark.slow
def test_the_procfile_serves_on_the_port_that_it_is_told(tmp_path):
    command = (TOP / "Procfile").read_text().partition("web: ")[2].strip()

    with running(command.replace("0.0.0.0", "127.0.0.1"), tmp_path) as address:
        assert get(f"{address}/healthz").strip() == b"ok"


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["headgate check", "headgate version", "python3 test_api.py --help"]
)
def test_other_commands_of_the_readme_run(command, tmp_path):
    assert command.removesuffix(" --help") in README

    arguments = [sys.executable, "-m", *command.split()] if "headgate" in command else None
    done = subprocess.run(
        arguments or [sys.executable, *command.split()[1:]],
        cwd=TOP,
        env=environment(tmp_path, 8000),
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (done.returncode, done.stderr) == (0, "")


if __name__ == "__main__":
    sys.stdout.write(drawing())
