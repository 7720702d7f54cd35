"""The traffic incidents of Rio's operations centre: read, counted by procedure (POP), kept in a CSV and in ClickHouse."""
