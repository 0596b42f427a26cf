"""`make demo`: real processes that are killed for real, on one screen of a terminal.

`example/` is the worked example on one server and one file, `machines/` several processes on one PostgreSQL.
In each, `play.py` does things, `scene.py` says what is seen and judges it, `screen.py` draws it, `words.py` tells it.
"""
