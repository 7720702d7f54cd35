"""Reports of the sales warehouse: their queries and filters, their page, and the two files of each."""
