"""The `[sources.*]` and `[quotas.*]` tables of headgate.toml: what they may say, and what they come to as values.

reading.py is the door: it reads tables.py, asks conflicts.py what does not go together, and has specs.py make values
of the rest. What each key means is in docs/configuration.md; defaults are those of the core.
"""
