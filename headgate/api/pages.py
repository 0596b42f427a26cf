"""Opaque page tokens: where the next page begins, and nothing that a client could rely on."""

from __future__ import annotations

import base64
import binascii

from headgate.core.errors import FieldError, InvalidInput

MOST = 1_000


def token(position: int) -> str:
    return base64.urlsafe_b64encode(f"p1:{position}".encode()).decode().rstrip("=")


def position_of(page: str | None, default: int) -> int:
    """Where a page begins. Raises InvalidInput for a token that we did not give out."""
    if page is None:
        return default
    try:
        kind, _, digits = base64.urlsafe_b64decode(page + "=" * (-len(page) % 4)).partition(b":")
        position = int(digits)
    except (ValueError, binascii.Error):
        kind, position = b"", -1
    if kind != b"p1" or not 0 <= position < 2**63:
        raise InvalidInput(
            FieldError(
                ("query", "page"), "no such page: take `next_page` of the page before", "page"
            )
        )
    return position
