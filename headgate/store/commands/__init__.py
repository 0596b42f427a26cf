"""Every change of the store, one verb a pair of files: the coroutine, and the SQL that it speaks."""
