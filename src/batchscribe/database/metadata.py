"""What all tables share: their registry, how indexes and keys are named, the type of ids that count up."""

from __future__ import annotations

from sqlalchemy import Integer, MetaData
from sqlalchemy.types import BigInteger

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

#: SQLite counts up by itself only for its own integer type.
event_id_type = BigInteger().with_variant(Integer, "sqlite")
