"""Cancel an ingestion: nothing more is begun for it. What a worker holds may still come in, and is kept."""

from __future__ import annotations

from headgate.core.errors import Conflict, NotFound
from headgate.core.facts import IngestionCancelled
from headgate.store.commands.ledger import hold_source
from headgate.store.engine import RunAgain, Transaction
from headgate.store.statements import beside

SQL = beside(__file__)


async def cancel(tx: Transaction, ingestion_id: str, *, client: str) -> int:
    """Cancel what has not ended; returns how many batches are still in flight. Cancelling again changes nothing.

    Raises NotFound, or Conflict for an ingestion that has ended otherwise.
    """
    named = await tx.one(SQL.source_of, ingestion_id, client)
    if named is None:
        raise NotFound("there is no ingestion with this id")
    await hold_source(tx, named[0])
    row = await tx.one(SQL.ingestion, ingestion_id, client)
    assert row is not None
    seq, source, distinct, begun, ended, already = row
    if source != named[0]:
        raise RunAgain  # it was renamed meanwhile: what is held is not its line
    if not already:
        if ended == distinct:
            raise Conflict("the ingestion has ended: there is nothing to cancel")
        wall = (await tx.reading()).wall_us
        in_line = await tx.one(SQL.left_in_line, seq)
        assert in_line is not None
        await tx.do(SQL.cancel_in_line, seq, wall)
        await tx.do(SQL.cancel, seq, wall, distinct - begun + in_line[0])
    in_flight = await tx.one(SQL.in_flight, seq)
    assert in_flight is not None
    if not already:
        tx.state(IngestionCancelled(ingestion_id, in_flight[0]))
        tx.wake(source)
    return int(in_flight[0])
