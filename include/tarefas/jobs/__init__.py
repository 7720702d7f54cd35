"""Jobs: calls of automations that are due by the clock, kept in PostgreSQL."""
