"""Sources fetch. base.py is the contract; each other file is one kind of source or a part of one."""
