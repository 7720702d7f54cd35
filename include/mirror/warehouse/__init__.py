"""The ClickHouse side: stage, publish by partition, read back.

Rows are never inserted into a table that people read. They go into a stage: a plain MergeTree table with the same columns.
After they are verified, the stage is attached to the table partition by partition; each is one atomic metadata operation.
People read through views with FINAL, so a row that is there in two versions counts once.
"""
