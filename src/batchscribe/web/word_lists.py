"""Keeping vocabularies and vocabulary filters over HTTP: the same four routes for both."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batchscribe.domain.word_lists import MOST_BYTES, WordListKind
from batchscribe.errors import InvalidRequest
from batchscribe.vocabularies import LISTS_A_PAGE
from batchscribe.web import schemas
from batchscribe.web.caller import owner_of
from batchscribe.web.documentation import problems, query_parameter
from batchscribe.web.json_body import json_body
from batchscribe.wire import word_list_to_json

if TYPE_CHECKING:
    from batchscribe.service import TranscriptionService

#: More than any list of words has, however it is written.
_MAX_LIST_BODY_BYTES = 256 << 10

#: Each kind: its path, its name in paths and bodies, and the field with its words, all as AWS has them.
_FACES = {
    WordListKind.VOCABULARY: ("/vocabularies", "vocabulary_name", "phrases"),
    WordListKind.VOCABULARY_FILTER: ("/vocabulary-filters", "vocabulary_filter_name", "words"),
}


class _Shapes(NamedTuple):
    """The shapes of the answers."""

    whole: type[BaseModel]
    page: type[BaseModel]
    deleted: type[BaseModel]


_SHAPES = {
    WordListKind.VOCABULARY: _Shapes(schemas.Vocabulary, schemas.VocabularyPage, schemas.DeletedVocabulary),
    WordListKind.VOCABULARY_FILTER: _Shapes(
        schemas.VocabularyFilter, schemas.VocabularyFilterPage, schemas.DeletedVocabularyFilter
    ),
}


class WordListRoutes:
    """The handlers of one kind of list."""

    def __init__(self, service: TranscriptionService, kind: WordListKind) -> None:
        self._service = service
        self._kind = kind
        self._path, self._name_field, self._words_field = _FACES[kind]

    async def put(self, request: Request) -> Response:
        """Store a list."""
        fields: dict[str, type] = {"language_code": str, self._words_field: list}
        body = await json_body(request, fields=fields, max_bytes=_MAX_LIST_BODY_BYTES)
        missing = next((field for field in fields if field not in body), None)
        if missing is not None:
            raise InvalidRequest(f"No {missing} provided")
        stored, is_new = await run_in_threadpool(
            self._service.vocabularies.put,
            self._kind,
            self._name(request),
            language_code=body["language_code"],
            words=body[self._words_field],
            owner=owner_of(request),
        )
        status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
        return JSONResponse(word_list_to_json(stored, self._name_field, self._words_field), status_code=status)

    async def get(self, request: Request) -> Response:
        """Send a list with its words."""
        found = await run_in_threadpool(
            self._service.vocabularies.get, self._kind, self._name(request), owner=owner_of(request)
        )
        return JSONResponse(word_list_to_json(found, self._name_field, self._words_field))

    async def list(self, request: Request) -> Response:
        """Send the lists, without their words."""
        after = request.query_params.get("after", "")
        found = await run_in_threadpool(
            self._service.vocabularies.list, self._kind, after=after.replace("\0", ""), owner=owner_of(request)
        )
        lines: list[dict[str, Any]] = [word_list_to_json(each, self._name_field, None) for each in found]
        return JSONResponse({self._path[1:].replace("-", "_"): lines, "count": len(lines)})

    async def delete(self, request: Request) -> Response:
        """Remove a list."""
        name = self._name(request)
        await run_in_threadpool(self._service.vocabularies.delete, self._kind, name, owner=owner_of(request))
        return JSONResponse({self._name_field: name, "message": f"The {self._kind.value} has been deleted."})

    def _name(self, request: Request) -> str:
        # No list has a name with such a byte, and PostgreSQL does not take it even in a question.
        return str(request.path_params["name"]).replace("\0", "?")


def add_word_list_routes(app: FastAPI, service: TranscriptionService) -> None:
    """Add the routes of both kinds."""
    for kind, (path, _, words_field) in _FACES.items():
        routes = WordListRoutes(service, kind)
        what = kind.value
        shapes = _SHAPES[kind]
        missing = {404: f"There is no such {what}."}
        created: dict[int | str, dict[str, Any]] = {
            201: {"model": shapes.whole, "description": "There was none with this name."}
        }
        name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}, "example": "products"}
        body = {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["language_code", words_field],
                        "properties": {
                            "language_code": {"type": "string", "examples": ["en-US"]},
                            words_field: {
                                "type": "array",
                                "items": {"type": "string"},
                                "minItems": 1,
                                "description": f"Words or phrases, {MOST_BYTES} bytes in all.",
                            },
                        },
                    }
                }
            },
        }
        after = query_parameter("after", "Only lists whose names come after this one.", {"type": "string"})
        app.get(
            path,
            summary=f"List every {what} by name",
            description=f"{LISTS_A_PAGE} at a time; ask again `after` the last name of the page before.",
            response_model=shapes.page,
            responses=problems({}),
            openapi_extra={"parameters": [after]},
        )(routes.list)
        app.put(
            path + "/{name}",
            summary=f"Store a {what}, in the place of one with its name",
            response_model=shapes.whole,
            responses=created | problems({400: "The name, the language or the words cannot be taken."}),
            openapi_extra={"parameters": [name], "requestBody": body},
        )(routes.put)
        app.get(
            path + "/{name}",
            summary=f"Read a {what}",
            response_model=shapes.whole,
            responses=problems(missing),
            openapi_extra={"parameters": [name]},
        )(routes.get)
        app.delete(
            path + "/{name}",
            summary=f"Delete a {what}; jobs that name it keep its words",
            response_model=shapes.deleted,
            responses=problems(missing),
            openapi_extra={"parameters": [name]},
        )(routes.delete)
