"""The traffic incidents of Rio's operations centre: read, counted per procedure (POP), kept in a CSV and in ClickHouse."""
