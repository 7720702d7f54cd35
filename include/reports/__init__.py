"""Reports of the sales warehouse: what they ask, how they look, and the two files that each becomes."""
