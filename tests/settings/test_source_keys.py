"""What `[sources.NAME]` and `[quotas.NAME]` say, and what they may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.core.ids import IdRule, IdType
from headgate.core.model import CallRules, QuotaSpec
from headgate.core.quota import Pacing, Window
from headgate.core.retry import RetryPolicy
from headgate.sources.http_options import HttpOptions
from headgate.sources.simulated import SimulatedOptions

HTTP = 'type = "http"\nurl = "https://api.example.com/items{?ids}"\n'
SECOND = 1_000_000


def test_the_source_of_the_order_reads_as_it_is_meant(source):
    catalog = source(
        """
        type = "http"
        url = "https://api.example.com/items{?ids}"
        join = ","
        batch_size = 50
        quota = ["10/s", "100000/day"]
        concurrency = 4
        headers = { authorization = "Bearer ${env:CATALOG_TOKEN}" }
        records = "items"
        record_id = "id"
        """,
        {"CATALOG_TOKEN": "secret"},
    )

    assert catalog.type == "http"
    assert catalog.spec.quota == QuotaSpec(
        "catalog", (Window(10, SECOND), Window(100_000, 86_400 * SECOND)), Pacing.EVEN
    )
    assert catalog.spec.rules == CallRules(concurrency=4, batch_size=50, within_us=None)
    assert catalog.options == HttpOptions(
        url="https://api.example.com/items{?ids}",
        headers={"authorization": "Bearer secret"},
        records="items",
        record_id="id",
    )


def test_every_key_of_the_rules_is_heard(source):
    rules = source(
        """
        quota = []
        batch_size = 7
        concurrency = 9
        cost = { call = 2, id = 3 }
        counted_within = "100ms"
        slack = "2s"
        grace = "7s"
        lease = "20s"
        """
    ).spec.rules

    assert rules == CallRules(
        concurrency=9,
        call_cost=2,
        id_cost=3,
        batch_size=7,
        within_us=100_000,
        slack_us=2 * SECOND,
        grace_us=7 * SECOND,
        lease_us=20 * SECOND,
    )


def test_every_key_of_the_retries_is_heard(source):
    spec = source(
        """
        max_attempts = 3
        backoff = "2s"
        backoff_max = "1min"
        absent = "retry"
        circuit_after = 4
        probe = "3s"
        probe_max = "4s"
        was = "old"
        """
    ).spec

    assert spec.was == "old"
    assert spec.retry == RetryPolicy(
        max_attempts=3,
        base_us=2 * SECOND,
        max_us=60 * SECOND,
        absent=True,
        circuit_after=4,
        probe_us=3 * SECOND,
        probe_max_us=4 * SECOND,
    )


def test_every_key_of_the_simulated_source_is_heard(source, tmp_path):
    options = source(
        """
        latency = "5ms"
        missing = [1, "a"]
        failing = [2]
        rejected = [3]
        missing_rate = 0.1
        failure_rate = 0.2
        throttle_rate = 1
        refuse = true
        retry_after = "2s"
        seed = 7
        journal = "calls.jsonl"
        """
    ).options

    assert options == SimulatedOptions(
        latency_us=5_000,
        missing=frozenset({1, "a"}),
        failing=frozenset({2}),
        rejected=frozenset({3}),
        missing_rate=0.1,
        failure_rate=0.2,
        throttle_rate=1.0,
        refuse=True,
        retry_after_us=2 * SECOND,
        seed=7,
        journal=tmp_path / "calls.jsonl",
    )


def test_every_key_of_the_http_source_is_heard(source):
    options = source(
        HTTP
        + """
        quota = "1/s"
        join = "|"
        headers = { x-a = "b" }
        records = "data.items[*]"
        record_id = "key"
        connect_timeout = "1s"
        answer_timeout = "2s"
        max_answer = "1MiB"
        """
    ).options

    assert options == HttpOptions(
        url="https://api.example.com/items{?ids}",
        join="|",
        headers={"x-a": "b"},
        records="data.items[*]",
        record_id="key",
        connect_us=SECOND,
        answer_us=2 * SECOND,
        max_answer_bytes=2**20,
    )


def test_a_simulated_source_may_throttle_without_saying_for_how_long(source):
    assert source('retry_after = "none"').options.retry_after_us is None


def test_a_simulated_source_is_limited_unless_told_otherwise(source):
    assert source().spec.quota.windows == (Window(1, 5 * SECOND),)
    assert source("quota = []").spec.quota.windows == ()


def test_a_quota_may_be_a_single_text(source):
    assert source('quota = "10/s"').spec.quota.windows == (Window(10, SECOND),)


def test_pacing_may_be_a_burst(source):
    assert source('pacing = "burst"').spec.quota.pacing is Pacing.BURST


def test_nothing_is_assumed_about_when_an_http_source_counts(source):
    assert source(HTTP + 'quota = "1/s"').spec.rules.within_us is None


def test_an_http_source_says_how_often_it_may_be_called(wrong, source):
    assert "quota: is missing: write how often it may be called" in wrong(HTTP)
    assert source(HTTP + "quota = []").spec.quota.windows == ()


def test_a_cost_is_of_a_call_or_of_a_call_and_each_id(source):
    plain = source('quota = "99/s"\ncost = 3').spec.rules
    both = source('quota = "99/s"\ncost = { call = 1, id = 2 }').spec.rules
    of_ids = source('quota = "99/s"\ncost = { id = 1 }').spec.rules

    assert plain.cost(3) == 3
    assert both.cost(3) == 7
    assert of_ids.cost(3) == 3


@pytest.mark.parametrize("value", ["0", "{ }", "{ call = 0, id = 0 }"])
def test_a_call_costs_something(wrong, value):
    assert "cost: a call should cost at least 1" in wrong(f"cost = {value}")


def test_a_call_must_fit_every_window_of_its_own_quota(wrong):
    mistake = wrong('quota = ["40/s", "100/min"]\nbatch_size = 50\ncost = { call = 1, id = 1 }')

    assert mistake == (
        "headgate.toml, line 4, sources.catalog.cost: a call for 50 ids costs up to 51, which never"
        " fits 40/s of quota catalog: lower batch_size or cost."
    )


def test_a_call_must_fit_every_window_of_a_shared_quota(mistakes):
    (mistake,) = mistakes(
        '[quotas.account]\nwindows = "5/s"\n[sources.a]\nquota = []\nshares = "account"\ncost = 6'
    )

    assert "costs up to 6, which never fits 5/s of quota account" in mistake


def test_ids_may_be_integers_of_a_range(source):
    rule = source('ids = { type = "integer", min = 1, max = 1000000007 }').spec.ids

    assert rule == IdRule(IdType.INTEGER, 1, 1_000_000_007)


def test_ids_may_be_texts_of_a_pattern(source):
    rule = source('ids = { type = "text", pattern = "W[0-9]+" }').spec.ids

    assert (rule.type, rule.pattern) == (IdType.TEXT, "W[0-9]+")


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("{ min = 2, max = 1 }", "ids: min is greater than max"),
        ("{ max = 9223372036854775808 }", "ids.max: should be less than or equal to 92233"),
        ("{ min = true }", "ids.min: should be a whole number"),
        ('{ pattern = "x" }', "ids: a pattern is for texts"),
        ('{ type = "text", min = 1 }', "ids: min and max are for integers"),
        ('{ type = "text", pattern = "[" }', "ids.pattern: is not a regular expression"),
        ('{ type = "uuid" }', "ids.type: should be 'integer' or 'text'"),
        ("{ maximum = 1 }", "ids.maximum: this key is unknown; did you mean max?"),
        ('"integer"', "ids: should be a table"),
    ],
)
def test_a_rule_for_ids_that_makes_no_sense_is_refused(wrong, value, what):
    assert f"sources.catalog.{what}" in wrong(f"ids = {value}")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('quota = "10/month"', 'quota[0]: "10/month" has no fixed length'),
        ('quota = ["10/s", "5/s"]', "quota: there are two windows of 1s"),
        ("quota = 5", "quota: should be a list"),
        ("quota = [5]", 'quota[0]: should be written in quotes and with its unit, such as "10/s"'),
        ("slack = 1", 'slack: should be written in quotes and with its unit, such as "5s"'),
        ('slack = "0s"', "slack: should be greater than 0"),
        ('lease = "1s"', "lease: should be longer than slack"),
        ('slack = "15s"', "lease: should be longer than slack"),
        ('backoff = "6min"', "backoff_max: should not be less than backoff"),
        ('probe_max = "1s"', "probe_max: should not be less than probe"),
        ("batch_size = 0", "batch_size: should be greater than or equal to 1"),
        ("batch_size = true", "batch_size: should be a whole number"),
        ('batch_size = "3"', "batch_size: should be a whole number"),
        ("concurrency = 1.0", "concurrency: should be a whole number"),
        ("max_attempts = 0", "max_attempts: should be greater than or equal to 1"),
        ('cost = "1"', "cost: should be a whole number, or { call = 1, id = 1 }"),
        ("cost = true", "cost: should be a whole number, or { call = 1, id = 1 }"),
        ('pacing = "evenly"', "pacing: should be 'even' or 'burst'"),
        ('absent = "gone"', "absent: should be 'missing' or 'retry'"),
        ("missing = [true]", "missing: should be a list of ids"),
        ("missing = 5", "missing: should be a list of ids"),
        ("missing_rate = 1.5", "missing_rate: should be less than or equal to 1"),
        ("failure_rate = nan", "failure_rate: should be"),
        ("refuse = 1", "refuse: should be true or false"),
        ("concurency = 1", "concurency: this key is unknown; did you mean concurrency?"),
        ('type = "python"', 'type: "python" is not there yet: this version has "simulated"'),
        ('type = "htpp"', 'type: this version has "simulated" (the default) and "http"'),
        ("type = ['http']", 'type: this version has "simulated"'),
        ('record_id = "id"', 'record_id: is a key of another type of source than "simulated"'),
    ],
)
def test_a_wrong_value_is_refused_with_what_to_do(wrong, line, what):
    assert f"sources.catalog.{what}" in wrong(line)


def test_a_url_without_a_type_is_a_mistake_that_says_which_to_add(mistakes):
    (mistake,) = mistakes('[sources.a]\nurl = "https://a.example/{ids}"\nquota = "1/s"')

    assert mistake == 'headgate.toml, line 1, sources.a: has a url and no type: add type = "http".'


def test_a_source_may_share_quotas(read):
    configuration = read(
        """
        [quotas.account]
        windows = ["100/s"]
        pacing = "burst"
        [sources.a]
        shares = ["account"]
        """
    )

    (source,) = configuration.sources
    assert configuration.quotas == (QuotaSpec("account", (Window(100, SECOND),), Pacing.BURST),)
    assert source.spec.shares == ("account",)
    assert source.spec.quota == QuotaSpec("a")


def test_a_shared_quota_that_is_not_there_is_a_mistake_that_names_the_nearest(mistakes):
    (mistake,) = mistakes('[quotas.account]\nwindows = "1/s"\n[sources.a]\nshares = ["acount"]')

    assert "shares: there is no [quotas.acount]; did you mean account?" in mistake


def test_a_shared_quota_has_at_least_one_window(mistakes):
    assert mistakes("[quotas.account]") == [
        'headgate.toml, line 1, quotas.account.windows: is missing: write one such as windows = ["100/s"].'
    ]


def test_a_shared_quota_and_a_source_of_the_same_name_collide(mistakes):
    (mistake,) = mistakes('[quotas.a]\nwindows = "1/s"\n[sources.a]')

    assert "quotas.a: a source has this name" in mistake


def test_a_renamed_source_may_not_have_the_name_of_one_that_is_there(mistakes):
    (mistake,) = mistakes('default_source = "a"\n[sources.a]\nwas = "b"\n[sources.b]')

    assert 'sources.a.was: "b" is still there' in mistake


def test_two_sources_may_not_have_been_the_same(mistakes):
    found = mistakes('default_source = "a"\n[sources.a]\nwas = "c"\n[sources.b]\nwas = "c"')

    assert len(found) == 2
    assert all('another source also was "c"' in mistake for mistake in found)


@pytest.mark.parametrize("name", ["a b", "ä", "-a", "a:b", "a/b", "x" * 65])
def test_a_name_is_fit_for_a_url(mistakes, name):
    (mistake,) = mistakes(f'[sources."{name}"]')

    assert "is no name: letters, digits, _ and -" in mistake


@pytest.mark.parametrize("text", ["sources = 5", "sources = { a = 5 }", "[[sources]]"])
def test_what_is_no_table_of_a_source_is_refused(mistakes, text):
    (mistake,) = mistakes(text)

    assert "should be" in mistake


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/items{?ids}",
        "https://api.example.com/items?kind=x{&ids}",
        "https://api.example.com/items?ids={ids}",
        "http://127.0.0.1:8080/items/{ids}.json",
        "https://api.example.com{?ids}",
        "https://[::1]:8080/{ids}",
        "https://api.example.com/items{?ids*}",
    ],
)
def test_a_url_has_one_placeholder_after_its_host(source, url):
    lines = f'type = "http"\nquota = "1/s"\nurl = "{url}"'

    assert source(lines).options.url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/items",
        "https://a.example/{ids}/{id}",
        "https://a.example/{user}/{id}",
        "https://a.example/{+ids}",
        "https://a.example/{id:3}",
        "https://a.example/{ids}}",
        "https://a.example/?a=1{?ids}",
        "https://a.example/{&ids}",
        "ftp://a.example/{ids}",
        "a.example/{ids}",
        "https:///x/{ids}",
        "https://{ids}.example/x",
        "https://a.example{ids}",
        "https://a.example:port/{ids}",
        "https://[::1/{ids}",
        "https://a.example/{ids}#x",
        "https://a.example/a b/{ids}",
        "https://a.example/\\r\\nx: y/{ids}",
    ],
)
def test_a_url_that_could_go_astray_is_refused(wrong, url):
    mistake = wrong(f'type = "http"\nquota = "1/s"\nurl = "{url}"')

    assert mistake.startswith("headgate.toml, line 4, sources.catalog.url: ")


def test_an_http_source_without_a_url_is_a_mistake(wrong):
    assert 'url: is missing: write one such as "https://' in wrong('type = "http"\nquota = "1/s"')


def test_a_url_for_one_id_makes_batches_of_one(source):
    lines = 'type = "http"\nquota = "1/s"\nurl = "https://a.example/items/{id}"'

    assert source(lines).spec.rules.batch_size == 1


def test_a_url_for_one_id_takes_no_larger_batches(wrong):
    mistake = wrong(
        'type = "http"\nquota = "1/s"\nurl = "https://a.example/items/{id}"\nbatch_size = 2'
    )

    assert "batch_size: the url takes one {id} a call" in mistake


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('records = "a..b"', "records: this is no JMESPath expression"),
        ('record_id = ""', "record_id: this is no JMESPath expression"),
        ('join = ""', "join: an empty text would let the ids run into each other"),
        (
            "max_answer = 5",
            'max_answer: should be written in quotes and with its unit, such as "32MiB"',
        ),
        ('max_answer = "0B"', "max_answer: should be greater than or equal to 1"),
        ('answer_timeout = "0s"', "answer_timeout: should be greater than 0"),
        ('headers = { "a b" = "c" }', "headers: a name holds a character"),
        ('headers = { "a\\r\\nb" = "c" }', "headers: a name holds a character"),
        ('headers = { a = "b\\r\\nc" }', "headers: the value of a must be plain ASCII"),
        ("headers = { a = 5 }", "headers.a: should be a text in quotes"),
        ('headers = { Accept = "a", accept = "b" }', "headers: a header is named twice"),
        ('headers = { Content-Length = "5" }', "headers: content-length is not yours to set"),
        ('headers = "a: b"', "headers: should be a table"),
        ('latency = "5s"', 'latency: is a key of another type of source than "http"'),
    ],
)
def test_a_wrong_value_of_an_http_source_is_refused_with_what_to_do(wrong, line, what):
    assert f"sources.catalog.{what}" in wrong(f'{HTTP}quota = "1/s"\n{line}')


def test_a_wrong_header_does_not_hide_another(mistakes):
    found = mistakes(
        f'[sources.a]\n{HTTP}quota = "1/s"\nheaders = {{ a = "${{env:X}}", b = "x\\ny", "c d" = "e" }}'
    )

    assert [mistake.partition(": ")[0].rpartition(" ")[2] for mistake in found] == [
        "sources.a.headers.a",
        "sources.a.headers",
        "sources.a.headers",
    ]


def test_a_wrong_key_does_not_hide_what_others_of_its_source_say_of_each_other(mistakes):
    found = mistakes('[sources.a]\nquota = "x"\nslack = "1min"')

    assert [mistake.partition(": ")[0] for mistake in found] == [
        "headgate.toml, line 2, sources.a.quota[0]",
        "headgate.toml, line 1, sources.a.lease",
    ]


EXAMPLE = Path(__file__).parents[2] / "headgate.example.toml"


def test_the_example_in_the_repository_is_right(read):
    configuration = read(EXAMPLE.read_text(encoding="utf-8"), {"CATALOG_TOKEN": "secret"})

    assert [source.spec.name for source in configuration.sources] == [
        "catalog",
        "articles",
        "rehearsal",
    ]
    assert [quota.name for quota in configuration.quotas] == ["account"]
    assert configuration.default_source == "catalog"
