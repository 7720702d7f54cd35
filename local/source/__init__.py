"""The sales system that the mirror reads: its schema, base data, past sales in bulk, and a simulator of new sales."""
