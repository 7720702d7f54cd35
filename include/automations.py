"""The name that `include.tarefas` had before: files of automations that were written then go on."""

from include.tarefas.task import tarefa

__all__ = ["tarefa"]
