"""What may stand in a query: a name that no route knows is a mistake, as a key of a body is."""

from __future__ import annotations

from fastapi import Request

from headgate.core.errors import FieldError, InvalidInput
from headgate.core.ids import MAX_ERRORS

SHOWN = 80


def only_known(request: Request) -> None:
    """Raises InvalidInput for names that the route does not know: a filter that is misspelt would filter nothing."""
    known = sorted(each.alias for each in request.scope["route"].dependant.query_params)
    told = f"known are {', '.join(known)}" if known else "none is known here"
    mistakes = [
        FieldError(("query", name[:SHOWN]), f"unknown parameter: {told}", "extra_forbidden")
        for name in dict.fromkeys(request.query_params)
        if name not in known
    ]
    if mistakes:
        raise InvalidInput(*mistakes[:MAX_ERRORS])
