"""Secrets: filled in by reference, never shown."""

from __future__ import annotations

import pytest

HTTP = 'type = "http"\nurl = "https://api.example.com/items{?ids}"\nquota = "10/s"\n'
SECRET = "hunter22-hunter22-hunter22"


def test_a_header_is_filled_in_from_the_environment(source):
    lines = HTTP + 'headers = { authorization = "Bearer ${env:CATALOG_TOKEN}" }'

    assert source(lines, {"CATALOG_TOKEN": SECRET}).options.headers == {
        "authorization": f"Bearer {SECRET}"
    }


def test_a_header_is_filled_in_from_a_file_without_its_last_line_end(source, tmp_path):
    (tmp_path / "token").write_text(f"{SECRET}\n")
    lines = HTTP + f'headers = {{ x-api-key = "${{file:{tmp_path}/token}}" }}'

    assert source(lines).options.headers == {"x-api-key": SECRET}


def test_what_a_secret_says_is_not_filled_in_again(source):
    lines = HTTP + 'headers = { x-api-key = "${env:A}" }'

    assert source(lines, {"A": "${env:B}", "B": "no"}).options.headers["x-api-key"] == "${env:B}"


@pytest.mark.parametrize("environ", [{}, {"CATALOG_TOKEN": ""}, {"CATALOG_TOKEN": " "}])
def test_a_variable_that_is_not_set_is_a_mistake_that_names_it(wrong, environ):
    mistake = wrong(HTTP + 'headers = { authorization = "Bearer ${env:CATALOG_TOKEN}" }', environ)

    assert mistake == (
        "headgate.toml, line 5, sources.catalog.headers.authorization:"
        " the environment variable CATALOG_TOKEN is not set: set it before the start."
    )


def test_a_file_that_is_not_there_is_a_mistake_that_names_it(wrong):
    mistake = wrong(HTTP + 'headers = { x-api-key = "${file:/nowhere/token}" }')

    assert "the file /nowhere/token cannot be read (No such file or directory)" in mistake


def test_a_file_that_is_empty_is_a_mistake(wrong, tmp_path):
    (tmp_path / "token").write_text("\n")

    assert "is empty" in wrong(HTTP + 'headers = { x-api-key = "${file:token}" }')


@pytest.mark.parametrize("value", ["${CATALOG_TOKEN}", "Bearer ${env:X", "${ENV:X}", "${env:}"])
def test_a_reference_that_is_none_is_a_mistake_and_not_sent_as_it_is(wrong, value):
    mistake = wrong(HTTP + f'headers = {{ authorization = "{value}" }}', {"X": "x"})

    assert "neither ${env:NAME} nor ${file:/path}" in mistake


@pytest.mark.parametrize("secret", ["a\r\nb: c", "a\nb", "a\x00b", "schlüssel"])
def test_a_secret_that_is_no_header_is_a_mistake_that_does_not_show_it(wrong, secret):
    mistake = wrong(HTTP + 'headers = { authorization = "${env:T}" }', {"T": secret})

    assert "sources.catalog.headers: the value of authorization must be plain ASCII" in mistake
    assert secret not in mistake


@pytest.mark.parametrize(
    "line",
    ['url = "https://${env:T}.example.com/{ids}"', 'join = "${env:T}"', 'was = "${env:T}"'],
)
def test_what_is_shown_or_logged_takes_no_secret(mistakes, line):
    key = line.partition(" ")[0]
    lines = "\n".join(each for each in HTTP.splitlines() if not each.startswith(key))

    (mistake,) = mistakes(f"[sources.catalog]\n{lines}\n{line}", {"T": SECRET})
    assert f"{key}: takes no ${{...}}" in mistake


def test_a_password_in_a_url_is_refused_without_showing_it(wrong):
    mistake = wrong(HTTP.replace("https://", f"https://user:{SECRET}@"))

    assert "sources.catalog.url: " in mistake
    assert SECRET not in mistake


@pytest.mark.parametrize("way", ["variable", "file"])
def test_an_api_key_may_be_a_reference(read, tmp_path, way):
    (tmp_path / "key").write_text(f"{SECRET}\n")
    text = 'api_keys = ["${file:key}"]' if way == "file" else ""
    environ = {"HEADGATE_API_KEYS": "${file:key}"} if way == "variable" else {}

    (key,) = read(text, environ).settings.api_keys
    assert key.get_secret_value() == SECRET


def test_no_secret_is_in_what_a_configuration_prints(read):
    text = f'[sources.catalog]\n{HTTP}headers = {{ authorization = "${{env:T}}" }}'
    configuration = read(text, {"T": SECRET, "HEADGATE_API_KEYS": f"{SECRET},{SECRET}2"})

    assert SECRET not in f"{configuration!r} {configuration}"
    assert SECRET not in repr(configuration.settings.model_dump())


def test_no_secret_is_in_any_mistake_or_its_traceback(read):
    import traceback

    from headgate.core.errors import SourceMisconfigured

    text = f"""
    api_keys = ["{SECRET} ", 5]
    database_url = "postgres://u:{SECRET}@h/d"
    [sources.catalog]
    type = "http"
    url = "https://api.example.com/items?key={SECRET}&x={{idz}}"
    headers = {{ "{"x" * 3} y" = "{SECRET}", a = ["{SECRET}"], b = "{SECRET}\\n${{env:T}}" }}
    quota = 5
    """
    with pytest.raises(SourceMisconfigured) as refused:
        read(text, {"T": f"{SECRET}\n", "HEADGATE_API_KEYS": f"a,{SECRET} b"})

    assert len(refused.value.mistakes) >= 8
    assert SECRET not in "".join(traceback.format_exception(refused.value))


NEEDS_A_TOKEN = """
[sources.catalog]
type = "http"
url = "https://api.example.com/items{?ids}"
quota = []
headers = { authorization = "Bearer ${file:/run/secrets/token}", key = "${env:KEY}" }
"""


def test_a_process_that_calls_no_source_reads_none_of_their_secrets(read):
    assert len(read(NEEDS_A_TOKEN, worker=False).sources) == 1


def test_a_process_that_calls_sources_needs_their_secrets(mistakes):
    assert len(mistakes(NEEDS_A_TOKEN)) == 2


def test_without_reading_secrets_a_reference_that_is_none_is_still_a_mistake(mistakes):
    (mistake,) = mistakes(NEEDS_A_TOKEN.replace("${env:KEY}", "${KEY}"), worker=False)

    assert "${env:NAME}" in mistake
