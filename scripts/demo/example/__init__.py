"""The worked example against one server that is killed in the middle."""
