"""Alembic's entry: runs migrations on the engine that ``Store.create`` hands over."""

from __future__ import annotations

from alembic import context

from pipeline.store.tables import metadata

engine = context.config.attributes["engine"]
with engine.connect().execution_options(immediate=True) as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        compare_type=True,
        user_module_prefix="t.",
    )
    with context.begin_transaction():
        context.run_migrations()
