"""The marts of the sales, which dbt builds in the warehouse."""
