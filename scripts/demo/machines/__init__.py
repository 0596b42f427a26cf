"""One queue on one PostgreSQL: a worker is killed, and then the database."""
