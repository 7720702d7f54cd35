"""Users of Airflow's simple auth manager, for apps that run in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def tokens() -> Iterator[dict[str, str]]:
    """A valid token of each user, by the user's name; Airflow's tables are there, and empty."""
    from airflow import settings
    from airflow.api_fastapi.app import init_auth_manager, purge_cached_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.models import import_all_models
    from airflow.models.base import Base

    import_all_models()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of this session alone" * 3)
        Base.metadata.create_all(settings.engine)
        manager = init_auth_manager()
        yield {
            name: manager.generate_jwt(SimpleAuthManagerUser(username=name, role=role))
            for name, role in (("vera", "VIEWER"), ("olga", "OP"))
        }
        purge_cached_app()
