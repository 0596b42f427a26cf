"""The rules, pure: no input, no output, no clock and no chance but what comes in as an argument."""
