"""Reading the queue beside the connection that commits: an index's entries in pages, rows by id, rare scans."""
