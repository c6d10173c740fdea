"""Puts virtual time where the product looks at the real one."""

from __future__ import annotations

import logging
import random
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from typing import Any

import pytest
from invariants import small_cut
from simulated_world import World

from batchscribe import acceptance
from batchscribe.workflow import pipeline


@contextmanager
def installed(world: World) -> Iterator[None]:
    """Put the virtual clock, the dice and small chunks where the product looks at the real ones."""

    class Clock:
        """Stands for the module ``time``."""

        sleep = staticmethod(world.sleep)

        @staticmethod
        def monotonic() -> float:
            """Return the virtual seconds."""
            return world.now

    class Today(datetime):
        """Stands for the class ``datetime``."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:  # noqa: ARG003 - all of ours are in UTC
            """Return the virtual time of day."""
            return world.today()

    def name() -> str:
        return f"transcribe-{uuid.UUID(int=world.dice.getrandbits(128))}"

    with pytest.MonkeyPatch.context() as patch:
        for module_name, module in list(sys.modules.items()):
            if module_name.startswith(("batchscribe.service", "batchscribe.acceptance", "batchscribe.workflow")):
                for real, virtual in ((time, Clock), (datetime, Today), (random, world.dice)):
                    attribute = real.__name__
                    if getattr(module, attribute, None) is real:
                        patch.setattr(module, attribute, virtual)
        patch.setattr(acceptance, "new_job_name", name)
        patch.setattr(pipeline, "cut", lambda blocks, _limits, **_: small_cut(blocks))
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
