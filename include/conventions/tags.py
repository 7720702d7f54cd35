"""The tags that DAGs may carry; a test refuses any other."""

from __future__ import annotations

from enum import StrEnum


class Tag(StrEnum):
    """What the DAG list of the UI is filtered by."""

    VENDAS = "vendas"
    MIRROR = "mirror"
    EXEMPLO = "exemplo"
    LOJA = "loja"
    OCORRENCIAS = "ocorrencias"
    AUTOMACOES = "automacoes"
