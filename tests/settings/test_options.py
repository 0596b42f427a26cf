"""What each option may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.core.model import CallRules
from headgate.core.quota import Window
from headgate.settings import Settings
from headgate.store.postgres.url import PostgresUrl


def test_nothing_configured_is_the_simulated_source_at_one_call_per_5_s(read):
    configuration = read()

    (source,) = configuration.sources
    assert configuration.default_source == "simulated"
    assert source.type == "simulated"
    assert source.spec.quota.windows == (Window(1, 5_000_000),)
    assert source.spec.rules == CallRules(concurrency=1, batch_size=3, within_us=0)
    assert source.options.latency_us == 100_000


def test_nothing_configured_listens_on_loopback_with_open_doors_and_dispatches(read):
    settings = read().settings

    assert (settings.host, settings.port, settings.worker) == ("127.0.0.1", 8000, True)
    assert settings.api_keys == settings.cors_origins == settings.allowed_hosts == ()
    assert settings.max_ids == 1_000_000
    assert settings.max_body_bytes == 64 * 1024 * 1024
    assert settings.config is None


def test_the_database_is_by_default_in_the_data_directory_of_the_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    named = Settings().database_url.get_secret_value()
    assert named == f"sqlite:///{tmp_path}/headgate/headgate.db"


def test_three_slashes_name_a_database_relative_to_the_working_directory(read, tmp_path):
    assert read(database_url="sqlite:///some/x.db").database == tmp_path / "some/x.db"


def test_four_slashes_name_a_database_by_its_absolute_path(read):
    assert read(database_url="sqlite:////var/lib/x.db").database == Path("/var/lib/x.db")


def test_the_database_is_absolute_even_if_the_working_directory_is_not_named(monkeypatch, tmp_path):
    from headgate.settings import load

    monkeypatch.chdir(tmp_path)

    assert load({}, flags={"database_url": "sqlite:///x.db"}).database == tmp_path / "x.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_postgresql_url_is_taken_and_its_password_is_never_shown(read, scheme):
    configuration = read(environ={"HEADGATE_DATABASE_URL": f"{scheme}://u:hunter22@h:5433/d"})

    assert configuration.database == PostgresUrl("postgresql://u:hunter22@h:5433/d")
    assert "hunter22" not in f"{configuration!r} {configuration} {configuration.database}"


@pytest.mark.parametrize(
    ("parameters", "kept", "can"),
    [
        ("?notify=on", "", (True, True, "")),
        ("?notify=off", "", (True, False, "")),
        ("?pooler=session", "", (True, True, "session")),
        (
            "?sslmode=require&pooler=transaction",
            "?sslmode=require",
            (False, False, "transaction"),
        ),
        (
            "?target_session_attrs=primary",
            "?target_session_attrs=primary",
            (True, True, ""),
        ),
        ("?channel_binding=require&connect_timeout=10&keepalives=1", "", (True, True, "")),
    ],
)
def test_a_postgresql_url_says_what_the_database_can_do(read, parameters, kept, can):
    database = read(database_url=f"postgresql://h1,h2/d{parameters}").database

    assert database == PostgresUrl(f"postgresql://h1,h2/d{kept}", *can)


@pytest.mark.parametrize(
    "password",
    ["hunter/22", "hunter#22", "hunter[22]", "hunter@22", "hunter\u210022", "hunter\uff2022"],
)
def test_a_password_that_cuts_its_url_short_is_refused_and_not_shown(mistakes, password):
    (mistake,) = mistakes(database_url=f"postgresql://u:{password}@h/d")

    assert "should be postgresql://user:password@host:port/name" in mistake
    assert "hunter" not in mistake


def test_a_port_that_there_is_not_is_refused(mistakes):
    (mistake,) = mistakes(database_url="postgresql://u@h:65536/d")

    assert "should be postgresql://user:password@host:port/name" in mistake


@pytest.mark.parametrize("parameters", ["?pooler=none", "?notify=maybe"])
def test_a_parameter_that_is_not_known_to_a_postgresql_url_is_refused(mistakes, parameters):
    (mistake,) = mistakes(database_url=f"postgresql://u:hunter22@h/d{parameters}")

    assert "in the URL should be" in mistake
    assert "hunter22" not in mistake


@pytest.mark.parametrize(
    "url",
    [
        "x.db",
        "mysql://u:hunter22@h/d",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///folder/",
        "sqlite+aiosqlite:///x.db",
        "postgresql+asyncpg://u:hunter22@h/d",
    ],
)
def test_a_database_that_is_no_sqlite_file_is_refused(mistakes, url):
    (mistake,) = mistakes(database_url=url)

    assert mistake.startswith("--database-url: should name a SQLite file (sqlite:///relative")
    assert "hunter22" not in mistake


@pytest.mark.parametrize("url", ["sqlite:///x.db?mode=ro", "sqlite:///~/x.db"])
def test_a_database_path_is_taken_as_it_is_written(mistakes, url):
    (mistake,) = mistakes(database_url=url)

    assert "takes neither options after ? nor ~" in mistake


def test_api_keys_are_separated_by_commas(read):
    keys = read(environ={"HEADGATE_API_KEYS": "first-key-0123456, second-key-012345,"})

    assert [key.get_secret_value() for key in keys.settings.api_keys] == [
        "first-key-0123456",
        "second-key-012345",
    ]


@pytest.mark.parametrize("key", ["fifteen-letters", "sixteen letters!!", "sixteen-lettérs!"])
def test_an_api_key_is_at_least_16_printable_characters(mistakes, key):
    (mistake,) = mistakes(environ={"HEADGATE_API_KEYS": f"good-key-0123456789,{key}"})

    assert mistake.startswith("HEADGATE_API_KEYS[1]: a key is at least 16 characters")
    assert key not in mistake


def test_keys_that_got_lost_on_the_way_do_not_open_the_door(mistakes):
    assert mistakes(environ={"HEADGATE_API_KEYS": ""}) == [
        "HEADGATE_API_KEYS: is empty: unset it, or write a key."
    ]


def test_lists_may_be_written_as_lists_or_with_commas(read):
    by_file = read('cors_origins = ["https://a.example", "http://localhost:3000"]').settings
    by_variable = read("", {"HEADGATE_CORS_ORIGINS": "https://a.example,http://localhost:3000"})

    assert by_file.cors_origins == ("https://a.example", "http://localhost:3000")
    assert by_variable.settings.cors_origins == by_file.cors_origins


@pytest.mark.parametrize(
    "origin", ["*", "https://*.example", "https://a.example/", "a.example", "null"]
)
def test_an_origin_has_a_scheme_and_a_host_and_no_star(mistakes, origin):
    (mistake,) = mistakes(environ={"HEADGATE_CORS_ORIGINS": origin})

    assert mistake.startswith("HEADGATE_CORS_ORIGINS[0]: should be an origin such as https://")


def test_allowed_hosts_are_names_with_a_star_at_most_in_front(read):
    hosts = read(environ={"HEADGATE_ALLOWED_HOSTS": "A.example, *.b.example, [::1], 10.0.0.1"})

    assert hosts.settings.allowed_hosts == ("a.example", "*.b.example", "[::1]", "10.0.0.1")


@pytest.mark.parametrize("host", ["a.example:8000", "https://a.example", "*", "a*.example"])
def test_an_allowed_host_has_neither_scheme_nor_port(mistakes, host):
    (mistake,) = mistakes(environ={"HEADGATE_ALLOWED_HOSTS": host})

    assert "without a port" in mistake


def test_a_size_may_be_written_with_its_unit_or_in_bytes(read):
    assert read('max_body_bytes = "1MiB"').settings.max_body_bytes == 2**20
    assert read("max_body_bytes = 4096").settings.max_body_bytes == 4096
    assert read("", {"HEADGATE_MAX_BODY_BYTES": "4096"}).settings.max_body_bytes == 4096


@pytest.mark.parametrize("value", ["true", "1.0", '"many"'])
def test_a_whole_number_is_not_a_boolean_a_fraction_or_a_word(mistakes, value):
    assert mistakes(f"port = {value}") == ["headgate.toml, line 1, port: should be a whole number."]


@pytest.mark.parametrize(("text", "worker"), [("0", False), ("false", False), ("yes", True)])
def test_whether_this_process_dispatches_may_be_said_in_the_usual_words(read, text, worker):
    assert read(environ={"HEADGATE_WORKER": text}).settings.worker is worker


def test_the_log_level_may_be_written_in_capitals(read):
    assert read(environ={"HEADGATE_LOG_LEVEL": "DEBUG"}).settings.log_level == "debug"


@pytest.mark.parametrize(
    ("option", "value"),
    [("port", 65_536), ("port", -1), ("max_ids", 0), ("max_body_bytes", 0), ("log_format", "xml")],
)
def test_an_option_out_of_its_range_is_refused(mistakes, option, value):
    (mistake,) = mistakes(**{option: value})

    assert mistake.startswith(f"--{option.replace('_', '-')}: should be ")


def test_every_option_says_what_it_means():
    assert all(option.description for option in Settings.model_fields.values())


TWO = """
default_source = "a"
[sources.a]
[sources.b]
"""


@pytest.mark.parametrize(("said", "called"), [("b", ("b",)), ("a, b", ("a", "b")), ("", ())])
def test_a_process_is_told_which_sources_it_calls(read, said, called):
    settings = read(TWO, {"HEADGATE_WORKER_SOURCES": said}).settings

    assert settings.worker_sources == called


def test_a_source_that_is_to_be_called_has_to_be_there(mistakes):
    (mistake,) = mistakes(TWO, {"HEADGATE_WORKER_SOURCES": "a,bb"})

    assert mistake.startswith("HEADGATE_WORKER_SOURCES: there is no source 'bb'")
