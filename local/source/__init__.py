"""The sales system that the mirror reads from: schema, base data, history in bulk, and a simulator that writes."""
