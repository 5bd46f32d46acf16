"""Client options for tests: tries follow at once, limits are short, nobody's credentials."""

from __future__ import annotations

from layertool.transport.registry.client import Options
from layertool.transport.registry.credentials import Credentials
from layertool.transport.registry.endpoint import Trust
from layertool.transport.registry.retry import Retry
from layertool.transport.registry.wire import Timeouts


def quick_options(
    credentials: Credentials | None = None, *, attempts: int = 5, trust: Trust | None = None
) -> Options:
    return Options(
        trust=trust or Trust(),
        timeouts=Timeouts(connect=5, read=5, least_rate=1000, patience=0.5, document=5),
        retry=Retry(attempts=attempts, first=0.001, most=0.002, longest=2.0),
        credentials=lambda domain, repository: credentials,
    )
