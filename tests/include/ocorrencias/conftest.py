"""The service on loopback, empty and without faults, and a client of it that does not pause."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from include.ocorrencias.client import Client, HttpTransport
from include.ocorrencias.settings import Policy
from tests.ocorrencias_service import OcorrenciasService

POLICY = Policy(attempts=4, pause=0, limit=20, silence=3, max_bytes=2**20)


@pytest.fixture
def service(ocorrencias_service: OcorrenciasService) -> OcorrenciasService:
    ocorrencias_service.reset()
    return ocorrencias_service


@pytest.fixture
def client(service: OcorrenciasService) -> Callable[..., Client]:
    def make(policy: Policy = POLICY, url: str = "") -> Client:
        return Client(HttpTransport(requests.Session(), url or service.url, policy), policy)

    return make
