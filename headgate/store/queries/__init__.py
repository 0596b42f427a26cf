"""Every read of the store; a read sees one snapshot and lasts for a page at most."""
