"""Automations: plain Python functions that people start by name. Each start is a run of the DAG `executar_tarefa`."""

from include.tarefas.task import tarefa

__all__ = ["tarefa"]
