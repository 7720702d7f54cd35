"""The ClickHouse side: stage, publish by partition, read back.

Rows are never inserted where people read. They go into a plain MergeTree stage of the same shape; what has been
verified there is attached to the table partition by partition, which is one atomic metadata operation each. Readers
see current rows through views with FINAL, so that rows that stand there twice, with two versions, count once.
"""
