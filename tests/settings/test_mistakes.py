"""Mistakes: all at once, each with its place and with what to do."""

from __future__ import annotations

import pytest

from headgate.settings.mistakes import dotted, line_of


def test_every_mistake_is_found_at_once(mistakes):
    found = mistakes(
        """
        prot = 1
        max_ids = 0
        [quotas.account]
        windows = ["10/month"]
        [sources.catalog]
        type = "http"
        url = "ftp://x/{ids}"
        quota = ["0/s", "10/s", "5/parsec"]
        lease = "1s"
        headers = { authorization = "${env:TOKEN}" }
        shares = ["acount"]
        [sources.other]
        type = "python"
        was = "catalog"
        """,
        {"HEADGATE_WORKER": "perhaps", "HEADGATE_NOTHING": "1"},
        port="none",
    )

    places = [mistake.partition(": ")[0].rpartition(" ")[2] for mistake in found]
    assert sorted(places) == sorted(
        [
            "prot",
            "max_ids",
            "quotas.account.windows[0]",
            "sources.catalog.url",
            "sources.catalog.quota[0]",
            "sources.catalog.quota[2]",
            "sources.catalog.lease",
            "sources.catalog.headers.authorization",
            "sources.catalog.shares",
            "sources.other.type",
            "sources.other.was",
            "default_source",
            "HEADGATE_WORKER",
            "HEADGATE_NOTHING",
            "--port",
        ]
    )


def test_a_mistake_names_file_line_and_key(mistakes):
    (mistake,) = mistakes("\n[sources.catalog]\n\nbatch_size = 0\n")

    assert mistake == (
        "headgate.toml, line 4, sources.catalog.batch_size: should be greater than or equal to 1."
    )


def test_each_mistake_is_one_line(mistakes):
    found = mistakes(
        '[sources."a\\nb"]\nrecords = "["\n"x\\ny" = 1\nwas = "a\\nb"\nshares = "d\\ne"\ntype = "http"'
    )

    assert len(found) == 6
    assert not any("\n" in mistake for mistake in found)


def test_a_wrong_value_in_the_file_is_found_although_a_flag_covers_it(mistakes):
    assert mistakes("port = -1", port=8000) == [
        "headgate.toml, line 1, port: should be greater than or equal to 0."
    ]


def test_an_unknown_option_of_the_file_names_the_nearest(mistakes):
    assert mistakes("max_idz = 1") == [
        "headgate.toml, line 1, max_idz: this key is unknown; did you mean max_ids?"
    ]


def test_an_unknown_table_names_the_nearest(mistakes):
    assert mistakes("[source.catalog]") == [
        "headgate.toml, line 1, source: this key is unknown; did you mean sources?"
    ]


def test_an_unknown_key_that_is_near_to_none_gets_them_all(mistakes):
    (mistake,) = mistakes("[quotas.a]\nwindows = '1/s'\nzzz = 1")

    assert "this key is unknown; there is pacing, windows" in mistake


def test_a_file_cannot_name_the_file(mistakes):
    (mistake,) = mistakes('config = "other.toml"')

    assert "config: this key is unknown" in mistake


@pytest.mark.parametrize(
    ("text", "keys", "line"),
    [
        ("a = 1\nb = 2", ("b",), 2),
        ("[t]\na = 1\n[u]\na = 2", ("u", "a"), 4),
        ("[t]\na = 1", ("t", "missing"), 1),
        ("[t]\na = { b = 1 }", ("t", "a", "b"), 2),
        ("[t]\na = [\n  1,\n  2,\n]", ("t", "a", 1), 2),
        ("t.a = 1", ("t", "a"), 1),
        ('["t"."u"]\n"a" = 1', ("t", "u", "a"), 2),
        ("  [ t . u ] # comment\n  a=1", ("t", "u", "a"), 2),
        ("a = 1", ("z",), None),
    ],
)
def test_the_line_of_a_key_is_found(text, keys, line):
    assert line_of(text, keys) == line


def test_an_odd_key_is_shown_in_quotes():
    assert dotted(("sources", "a b", "quota", 1)) == 'sources."a b".quota[1]'
