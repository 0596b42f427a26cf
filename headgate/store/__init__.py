"""The store remembers. engine.py is the contract; commands/ and queries/ are written once for every engine."""
