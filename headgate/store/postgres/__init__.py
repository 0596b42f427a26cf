"""The engine on PostgreSQL: any number of processes on any number of machines."""
