"""`uvicorn main:app`. Importing this does no I/O: the lifespan, or the first request, opens the store."""

from headgate.bootstrap import make_app

app = make_app()
