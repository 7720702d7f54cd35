"""The PostgreSQL side: sessions, checks of the server, open transactions, snapshots, and the stream of rows.

All times are the database's: the worker's clock decides nothing. Sessions set every setting that matters and inherit none.
"""
