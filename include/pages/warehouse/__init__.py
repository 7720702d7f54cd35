"""The page Warehouse: whether each table of each mirror equals its source, and what is known about it."""
