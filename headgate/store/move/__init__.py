"""A copy from a file to PostgreSQL that is verified before anybody can see it: `headgate move`."""

from headgate.store.move.moving import move
from headgate.store.move.tables import NotMoved

__all__ = ["NotMoved", "move"]
