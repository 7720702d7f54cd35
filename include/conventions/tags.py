"""The tags that DAGs may have. A test refuses any other."""

from __future__ import annotations

from enum import StrEnum


class Tag(StrEnum):
    """A tag, by which the UI's list of DAGs can be filtered."""

    VENDAS = "vendas"
    MIRROR = "mirror"
    EXEMPLO = "exemplo"
    LOJA = "loja"
    OCORRENCIAS = "ocorrencias"
    AUTOMACOES = "automacoes"
    NO_SERVER = "no server"
    """Added by include/conventions/servers.py: the DAG's server does not run in this deployment."""
