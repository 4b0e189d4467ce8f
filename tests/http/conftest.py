"""A service that runs as long as the session, and empty for each test."""

from collections.abc import Iterator

import pytest

from tests.http.service import Service


@pytest.fixture(scope="session")
def _service() -> Iterator[Service]:
    service = Service()
    service.start()
    yield service
    service.stop()


@pytest.fixture
def service(_service: Service) -> Service:
    _service.forget()
    return _service
