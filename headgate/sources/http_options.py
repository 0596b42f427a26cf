"""What the description of an HTTP source says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """A GET by RFC 6570 template; `headers` have their secrets filled in already and never print themselves.

    `join` puts the ids of a call together where the template holds `{ids}` or `{?ids}`; a template with `{id}`
    takes one id a call. `records` is where the records are in the answer (JMESPath; None: the answer itself),
    `record_id` where each record's id is (None: the records come in the order asked, null for a missing one).
    """

    url: str = field(repr=False)
    join: str = ","
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    records: str | None = None
    record_id: str | None = None
    connect_us: int = 5_000_000
    answer_us: int = 30_000_000
    max_answer_bytes: int = 32 * 1024 * 1024
