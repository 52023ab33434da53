# SPDX-License-Identifier: MIT
"""What a registry is compared with: FastAPI routes that insert a row and read one, and do nothing else."""

import os
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import create_engine, event, text

engine = create_engine(os.environ["BARE_DATABASE_URL"], pool_size=16, max_overflow=0)
app = FastAPI()

if engine.dialect.name == "sqlite":

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=60000"):
            connection.execute(f"PRAGMA {pragma}").close()


@app.post("/api/v1/records", status_code=201)
async def submit(request: Request) -> Response:
    """Insert the body, under the id that stands in it."""
    body = await request.body()
    place = body.index(b'"mrv_id":"') + 10
    await run_in_threadpool(_insert, body[place : place + 40].decode(), body)
    return Response(status_code=201)


def _insert(name: str, body: bytes) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO rows VALUES (:id, :content)"), {"id": name, "content": body})


@app.get("/api/v1/records/{name}/content")
def content(name: str) -> Response:
    """Return a row."""
    with engine.connect() as connection:
        row = connection.execute(text("SELECT content FROM rows WHERE id = :id"), {"id": name}).one_or_none()
    return Response(status_code=404) if row is None else Response(bytes(row.content), media_type="application/json")


if __name__ == "__main__":  # once, before the processes that answer are started
    with engine.begin() as connection:
        kind = "BLOB" if engine.dialect.name == "sqlite" else "BYTEA"
        connection.execute(text(f"CREATE TABLE rows (id TEXT PRIMARY KEY, content {kind})"))
