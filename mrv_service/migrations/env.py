# SPDX-License-Identifier: MIT
"""How Alembic reaches the database: through the connection that `Database` gives it."""

from alembic import context

from mrv_service.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
