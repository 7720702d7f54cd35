"""The four requests to the service, each with its path, its parameters and its parsed answer."""

from __future__ import annotations

from datetime import date

from include.ocorrencias.client import Client
from include.ocorrencias.models import Atividade, Lista, parse_atividades, parse_eventos, parse_pops

ABERTAS = "/ocorrencias_abertas/"
DESDE = "/ocorrencias/"
POPS = "/pops/"
ATIVIDADES = "/procedimento_operacional_padrao_orgaos_responsaveis/"
LONGEST_SPAN = 29
"""How many days back a request may begin. The service answers 400 if the span from that day's midnight exceeds 30 days."""


class Service:
    """The service of the operations centre. All methods raise what Client.get raises, and ContractError."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def abertas(self) -> Lista:
        """Return the events that are open now, from any day."""
        return parse_eventos(self.client.get(ABERTAS), "ocorrencias_abertas")

    def desde(self, day: date) -> Lista:
        """Return the events that began on this day of São Paulo or later, open or not."""
        return parse_eventos(self.client.get(DESDE, {"inicio": f"{day:%Y-%m-%d} 00:00:00.0"}), "ocorrencias")

    def pops(self) -> tuple[dict[int, str], list[str]]:
        """Return the titles of all POPs by id, and a message for each invalid entry."""
        return parse_pops(self.client.get(POPS))

    def atividades(self, pop_id: int) -> tuple[Atividade, ...]:
        """Return the activities of all agencies in a POP."""
        return parse_atividades(self.client.get(ATIVIDADES, {"popId": str(pop_id)}), pop_id)
