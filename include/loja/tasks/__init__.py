"""The work of each DAG's tasks: open the connections, call the domain's modules, log the result."""
