"""A worker's sign of life: a count in its row that moves on every few seconds."""

from __future__ import annotations

import logging
import os
import socket
import threading

from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from batchscribe.database import workers

logger = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
#: A worker whose count has stood still for so long is taken for dead.
PATIENCE_SECONDS = 8.0


class Heartbeat:
    """Beats in a thread of its own from :meth:`start` to :meth:`stop`."""

    def __init__(self, database: Database, executor_id: str) -> None:
        """Start nothing yet."""
        self._database = database
        self._executor_id = executor_id
        self._stopped = threading.Event()

    def start(self) -> None:
        """Register the worker, then go on beating. Raises SQLAlchemyError where the database does not answer."""
        self.beat()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Strike the worker off, so that its work is handed on at once."""
        self._stopped.set()
        try:
            with self._database.begin() as connection:
                workers.forget(connection, self._executor_id)
        except SQLAlchemyError:
            logger.warning("could not strike this worker off; it will be found dead")

    def beat(self) -> None:
        """Give one sign of life."""
        with self._database.begin() as connection:
            workers.beat(connection, self._executor_id, host=socket.gethostname(), pid=os.getpid())

    def _run(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            try:
                self.beat()
            except SQLAlchemyError as error:
                logger.warning("no sign of life could be given: %s", type(error).__name__)
