"""The PostgreSQL side: sessions, what is checked of a server, open transactions, snapshots, the stream of rows.

Time here is the database's own. The worker's clock decides nothing, and a session's settings are set, not inherited.
"""
