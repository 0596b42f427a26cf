"""The page's files as they are served and as they are written: who may frame them, what they may do, what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import headgate
from headgate.bootstrap import make_app

FOLDER = Path(headgate.__file__).parent / "dashboard"
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:;"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
FORBIDDEN = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc",
    "localStorage", "sessionStorage", "document.cookie", "indexedDB",
)  # fmt: skip
KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
SCRIPTS = sorted(FOLDER.glob("*.js"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HEADGATE_DATABASE_URL", f"sqlite:///{folder}/headgate.db")
        patch.setenv("HEADGATE_API_KEYS", "the-page-needs-none")
        with TestClient(make_app()) as opened:
            yield opened


def test_the_page_is_served_under_the_strict_policy(client: TestClient) -> None:
    answer = client.get("/")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    assert "access-control-allow-origin" not in answer.headers


def test_each_file_is_served_by_its_name_and_as_its_kind(client: TestClient) -> None:
    for file in FOLDER.iterdir():
        answer = client.get(f"/page/{file.name}")

        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"].startswith(KINDS[file.suffix])
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_file_that_is_known_is_not_sent_again(client: TestClient) -> None:
    etag = client.get("/page/main.js").headers["etag"]

    again = client.get("/page/main.js", headers={"If-None-Match": etag})
    changed = client.get("/page/main.js", headers={"If-None-Match": '"another"'})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert changed.status_code == 200


def test_head_says_what_get_would(client: TestClient) -> None:
    for path in ("/", "/page/main.js", "/favicon.ico"):
        head, get = client.head(path), client.get(path)

        assert head.content == b""
        assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


@pytest.mark.parametrize(
    "path",
    [
        "/page/../api/page.py",
        "/page/%2e%2e/api/page.py",
        "/page/..%2fapi%2fpage.py",
        "/page/%2e%2e%2fapi%2fpage.py",
        "/page/..%5capi%5cpage.py",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/page/",
        "/page/.",
        "/page/main.js%00",
        "/page/MAIN.JS",
        "/page/page.py",
    ],
)
def test_nothing_else_can_be_had(client: TestClient, path: str) -> None:
    answer = client.get(path, follow_redirects=False)

    assert answer.status_code in {401, 404}  # 401: it is not even in an open folder
    assert b"import" not in answer.content


def test_the_pages_are_not_part_of_the_api(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]

    assert not {"/", "/page/{name}", "/docs", "/redoc", "/favicon.ico"} & set(paths)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_pages_of_the_api_may_talk_to_this_server_only(client: TestClient, path: str) -> None:
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]

    assert answer.status_code == 200
    assert policy.startswith("default-src 'none'; script-src 'self'")
    assert "connect-src 'self';" in policy
    assert "img-src 'self' data:;" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"https?:|\*", policy)
    assert "unsafe" not in policy.partition("script-src")[2].partition(";")[0]
    assert not re.search(rb"""(src|href)=["'](https?:)?//""", answer.content)


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_a_script_puts_text_into_the_page_and_never_markup(file: Path) -> None:
    code = file.read_text()

    assert [word for word in FORBIDDEN if word in code] == []


def test_no_file_names_another_host() -> None:
    allowed = {"http://www.w3.org/2000/svg"}
    named = {
        (file.name, url)
        for file in FOLDER.iterdir()
        for url in re.findall(r"(?:https?|wss?)://[\w./-]+", file.read_text())
        if url not in allowed
    }

    assert named == set()


def test_the_page_has_no_script_and_no_style_of_its_own() -> None:
    page = (FOLDER / "index.html").read_text()

    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\bstyle=|\bon\w+=", page) == []


def test_every_file_that_is_named_is_there() -> None:
    page = (FOLDER / "index.html").read_text()
    named = set(re.findall(r'"page/([\w.-]+)"', page))
    for script in SCRIPTS:
        named |= set(re.findall(r'from "\./([\w.-]+)"', script.read_text()))

    assert named <= {file.name for file in FOLDER.iterdir()}
    assert {file.name for file in FOLDER.iterdir()} <= named | {"index.html"}


def test_every_element_that_a_script_asks_for_is_on_the_page() -> None:
    page = (FOLDER / "index.html").read_text()
    there = set(re.findall(r'\bid="([\w-]+)"', page))
    asked = {
        name for script in SCRIPTS for name in re.findall(r'\$\("#([\w-]+)"', script.read_text())
    }

    assert asked <= there


def test_nothing_is_exported_that_nobody_imports() -> None:
    code = [script.read_text() for script in SCRIPTS]
    exported = {
        name
        for text in code
        for name in re.findall(r"^export (?:async )?(?:const|function|class) ([\w$]+)", text, re.M)
    }
    imported = {
        name
        for text in code
        for names in re.findall(r"^import \{(.*)\} from", text, re.M)
        for name in re.findall(r"[\w$]+", names)
    }
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("*.py"))

    assert {name for name in exported - imported if not re.search(rf"\b{name}\b", tests)} == set()


def test_the_page_is_light() -> None:
    sizes = sum(file.stat().st_size for file in FOLDER.iterdir())

    assert sizes < 124_000
