"""Where options come from: defaults < headgate.toml < environment < flags."""

from __future__ import annotations

import pytest

from headgate.settings import load
from headgate.store.postgres.url import PostgresUrl


def test_the_file_goes_before_the_default(read):
    assert read("port = 1").settings.port == 1


def test_the_environment_goes_before_the_file(read):
    assert read("port = 1", {"HEADGATE_PORT": "2"}).settings.port == 2


def test_a_flag_goes_before_the_environment(read):
    assert read("port = 1", {"HEADGATE_PORT": "2"}, port=3).settings.port == 3


def test_a_flag_that_was_not_given_covers_nothing(read):
    assert read("port = 1", port=None).settings.port == 1


def test_layers_cover_each_other_option_by_option(read):
    settings = read(
        'port = 1\nhost = "a"\nlog_level = "error"',
        {"HEADGATE_PORT": "2", "HEADGATE_HOST": "b"},
        port=3,
    ).settings

    assert (settings.port, settings.host, settings.log_level) == (3, "b", "error")


def test_the_platforms_port_is_taken_where_ours_is_not_set(read):
    assert read("port = 1", {"PORT": "5000"}).settings.port == 5000
    assert read("", {"PORT": "5000", "HEADGATE_PORT": "2"}).settings.port == 2


def test_the_platforms_database_is_taken_where_ours_is_not_set(read, tmp_path):
    assert read(environ={"DATABASE_URL": "sqlite:///x.db"}).database == tmp_path / "x.db"


def test_the_platforms_postgresql_is_taken_where_ours_is_not_set(read):
    database = read(environ={"DATABASE_URL": "postgres://u:p@h/d"}).database

    assert database == PostgresUrl("postgresql://u:p@h/d")


def test_a_mistake_in_the_platforms_database_is_told_by_the_name_of_its_variable(mistakes):
    (mistake,) = mistakes(environ={"DATABASE_URL": "postgres://u:p@h/d?pooler=some"})

    assert mistake.startswith("DATABASE_URL: pooler in the URL should be session or transaction")


@pytest.mark.parametrize("cover", ["variable", "flag"])
def test_the_platforms_postgresql_does_not_matter_where_a_file_is_named(read, tmp_path, cover):
    environ = {"DATABASE_URL": "postgres://u:p@h/d"}
    flags = {}
    if cover == "variable":
        environ["HEADGATE_DATABASE_URL"] = "sqlite:///x.db"
    else:
        flags["database_url"] = "sqlite:///x.db"

    assert read(None, environ, **flags).database == tmp_path / "x.db"


def test_an_empty_variable_counts_as_not_set(read):
    assert read("port = 1", {"HEADGATE_PORT": "", "PORT": ""}).settings.port == 1


def test_the_environment_is_the_one_that_was_handed_over(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADGATE_PORT", "1")
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p@h/d")

    assert load({}, cwd=tmp_path).settings.port == 8000


def test_an_unknown_variable_of_ours_is_a_mistake_that_names_the_nearest(mistakes):
    assert mistakes(environ={"HEADGATE_PROT": "1"}) == [
        "HEADGATE_PROT: this variable is unknown; did you mean HEADGATE_PORT?"
    ]


def test_variables_of_others_are_none_of_our_business(read):
    assert read(environ={"HOST": "x", "API_KEYS": "y", "HEADGATEWAY": "z"}).settings.api_keys == ()


def test_the_failpoint_of_the_tests_is_known(read):
    assert read(environ={"HEADGATE_FAILPOINT": "claimed"}).sources


def test_what_kubernetes_sets_for_a_service_called_headgate_is_not_meant_for_us(read):
    environ = {
        "HEADGATE_SERVICE_HOST": "10.0.0.1",
        "HEADGATE_SERVICE_PORT": "8000",
        "HEADGATE_SERVICE_PORT_HTTP": "8000",
        "HEADGATE_PORT": "tcp://10.0.0.1:8000",
        "HEADGATE_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "HEADGATE_PORT_8000_TCP_ADDR": "10.0.0.1",
    }

    assert read(None, environ).settings.port == 8000


def test_an_unknown_flag_is_a_mistake_that_names_the_nearest(mistakes):
    assert mistakes(max_idz=1) == ["--max-idz: this flag is unknown; did you mean --max-ids?"]


def test_a_file_in_the_working_directory_is_read_and_said_to_be(read, tmp_path):
    assert read("").settings.config == tmp_path / "headgate.toml"


@pytest.mark.parametrize("way", ["variable", "flag"])
def test_another_file_may_be_named(read, tmp_path, way):
    (tmp_path / "other.toml").write_text("port = 1")
    environ = {"HEADGATE_CONFIG": "other.toml"} if way == "variable" else {}
    flags = {"config": "other.toml"} if way == "flag" else {}

    settings = read("port = 2", environ, **flags).settings

    assert settings.port == 1
    assert settings.config == tmp_path / "other.toml"


def test_a_named_file_that_is_not_there_is_a_mistake(mistakes):
    (mistake,) = mistakes(environ={"HEADGATE_CONFIG": "nowhere.toml"})

    assert mistake == (
        "HEADGATE_CONFIG: the file nowhere.toml cannot be read (No such file or directory):"
        " name one that is there."
    )


def test_a_file_that_is_not_toml_is_a_mistake_with_its_line(mistakes):
    (mistake,) = mistakes("port = 1\nhost =")

    assert mistake.startswith("headgate.toml: this is not TOML: ")


def test_a_file_that_is_not_utf_8_is_a_mistake(mistakes, tmp_path):
    (tmp_path / "headgate.toml").write_bytes(b'host = "\xff"')

    assert mistakes() == ["headgate.toml: should be text in UTF-8."]


def test_a_file_that_cannot_be_read_brings_no_mistakes_about_what_it_might_have_said(mistakes):
    assert len(mistakes("[sources.catalog", default_source="catalog")) == 1


def test_a_file_may_begin_with_a_byte_order_mark(read):
    assert read("\ufeffport = 1").settings.port == 1


def test_the_default_source_is_the_one_that_was_named(read):
    two = "[sources.a]\n[sources.b]\n"

    assert read(f'default_source = "a"\n{two}').default_source == "a"
    assert (
        read(f'default_source = "a"\n{two}', {"HEADGATE_DEFAULT_SOURCE": "b"}).default_source == "b"
    )


def test_the_default_source_is_the_only_one_of_the_file(read):
    assert read("[sources.catalog]").default_source == "catalog"


def test_several_sources_without_a_default_are_a_mistake(mistakes):
    assert mistakes("[sources.a]\n[sources.b]") == [
        'headgate.toml, default_source: there are several sources: write which is for /ingest, such as "a".'
    ]


def test_a_default_source_that_is_not_there_is_a_mistake_that_names_the_nearest(mistakes):
    assert mistakes('default_source = "catlog"\n[sources.catalog]') == [
        "headgate.toml, line 1, default_source: there is no source of this name; did you mean catalog?"
    ]


def test_a_default_source_that_is_no_text_is_one_mistake(mistakes):
    assert mistakes("default_source = 5\n[sources.a]\n[sources.b]") == [
        "headgate.toml, line 1, default_source: should be a text in quotes."
    ]
