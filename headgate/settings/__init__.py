"""What a process is told: defaults < headgate.toml < HEADGATE_* < flags. `load` is the door.

options.py has every option; described/ reads `[sources.*]` and `[quotas.*]`; values.py and mistakes.py
serve both.
"""

from headgate.settings.options import Configuration, ConfiguredSource, Settings, load

__all__ = ["Configuration", "ConfiguredSource", "Settings", "load"]
