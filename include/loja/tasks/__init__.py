"""What the tasks of each DAG do: connections opened, the work called, what it says logged."""
