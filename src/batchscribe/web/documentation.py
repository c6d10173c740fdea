"""What the OpenAPI document says beside the answers' shapes, and the page that shows it without the internet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from batchscribe.domain.identification import USUAL_FLOOR
from batchscribe.domain.option_fields import FILTER_METHODS
from batchscribe.domain.options import PATTERN_TYPES
from batchscribe.domain.submission import LONGEST_SECONDS, SOURCE_FIELDS, Priority
from batchscribe.domain.webhooks import DEFAULT_EVENTS, EVENT_TYPES, PayloadFormat
from batchscribe.egress import LONGEST_URL
from batchscribe.exports.rendering import CSV_ROWS, CUE_PARAMETERS, WHOLE_PARAMETERS
from batchscribe.web.errors import ERROR_CODE_HEADER, RETRY_AFTER_SECONDS
from batchscribe.web.gate import OPEN_PATHS
from batchscribe.web.schemas import Problem
from batchscribe.web.uploads import IDEMPOTENCY_HEADER, LONGEST_KEY

ASSETS_PATH = "/docs/assets"

#: Allows Swagger UI's own inline styles and images, and nothing from another host.
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>BatchScribe</title>
<link rel="stylesheet" href="{ASSETS_PATH}/swagger-ui.css">
<link rel="icon" href="{ASSETS_PATH}/favicon.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{ASSETS_PATH}/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

_START_SCRIPT = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
  validatorUrl: null,
});
"""

_ERROR_CODE = {ERROR_CODE_HEADER: {"description": "A stable code for programs.", "schema": {"type": "string"}}}

_SECURITY_SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The API key as Authorization: Bearer KEY."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The API key as it is."},
}

#: What any request can be answered with, whatever it asks for.
_ALWAYS: dict[int, str] = {
    401: "An API key is needed, or the one that was sent is no good.",
    403: "The API key lacks the scope for this; or, without keys, a page of another origin asks for a change.",
    408: "The request did not arrive in time.",
    421: "Without API keys only this machine is served, under its own names.",
    429: "More requests a second than the API key may send, or more jobs; see Retry-After.",
    431: "The request's headers are too large.",
    500: "Something unforeseen went wrong; the answer names a reference into the server's log.",
    503: f"The server cannot answer at present. Try again after {RETRY_AFTER_SECONDS} seconds.",
}


def _seconds(until: str) -> dict[str, Any]:
    """Describe a form field of seconds from a job's end."""
    return {
        "type": "integer",
        "minimum": 0,
        "maximum": LONGEST_SECONDS,
        "description": f"Seconds from the job's end {until}; without it, what the server is set to.",
    }


def _text(description: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Describe a form field of text."""
    return {"type": "string", "description": description, **more}


def _truth(description: str) -> dict[str, Any]:
    return _text(description, enum=["true", "false"], default="false")


#: Form fields that say how to transcribe, as ``domain/option_fields.py`` reads them. Some need an engine that can.
_OPTIONS: dict[str, dict[str, Any]] = {
    "identify_language": _truth("In the place of language_code: find out the language, where the engine can."),
    "identify_multiple_languages": _truth("In its place: find out the language of every stretch, where it can."),
    "language_options": _text("Language codes to choose from, separated by commas.", examples=["en-US,es-US"]),
    "min_language_score": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": f"Below this score of the identified language the job fails; {USUAL_FLOOR:g} where it is not "
        "given, 0 never.",
    },
    "show_speaker_labels": _truth("Say who speaks when, where the engine can."),
    "max_speaker_labels": {"type": "integer", "minimum": 2, "maximum": 30, "description": "How many at most."},
    "channel_identification": _truth("Transcribe each channel apart: two of them, or what the engine can."),
    "max_alternatives": {
        "type": "integer",
        "minimum": 2,
        "maximum": 10,
        "description": "Readings of each stretch, where the engine has them.",
    },
    "vocabulary_name": _text("A vocabulary (at AWS, one of AWS's own), whose words the engine favours where it can."),
    "vocabulary_filter_name": _text("A vocabulary filter; at AWS, one of AWS's own."),
    "vocabulary_filter_method": _text("What is done with its words.", enum=list(FILTER_METHODS)),
    "redact_types": _text(
        f"What is taken out, separated by commas: {', '.join(sorted(PATTERN_TYPES))}; at AWS all its kinds, or ALL.",
        examples=["EMAIL,PHONE"],
    ),
    "subtitle_formats": _text("Subtitle files that the engine writes, with commas.", examples=["vtt,srt"]),
}

IDEMPOTENCY_PARAMETER: dict[str, Any] = {
    "name": IDEMPOTENCY_HEADER,
    "in": "header",
    "required": False,
    "description": "Your own name for this submission: within 24 hours, the same again makes no second job.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]+$"},
}

#: What a submission may say beside where the recording is.
_FIELDS: dict[str, dict[str, Any]] = {
    "language_code": {"type": "string", "default": "en-US", "examples": ["en-US", "zh-CN"]},
    **_OPTIONS,
    "engine": {
        "type": "string",
        "enum": ["local", "aws"],
        "description": "Which engine recognises, where the server has several.",
    },
    "priority": {
        "type": "string",
        "enum": [each.value for each in Priority],
        "default": "normal",
        "description": "Waiting jobs of a higher priority go first.",
    },
    "delete_after_seconds": _seconds("until the job is deleted with all it has"),
    "delete_media_after_seconds": _seconds("until the recording is deleted"),
    "webhook_url": {"type": "string", "description": "Is told of the job's end, by a signed POST."},
    "webhook_events": {
        "type": "string",
        "default": ",".join(DEFAULT_EVENTS),
        "description": f"Of which events, with commas: {', '.join(EVENT_TYPES)}.",
    },
    "webhook_payload": {"type": "string", "enum": [each.value for each in PayloadFormat]},
}

_FILE: dict[str, Any] = {
    "type": "string",
    "format": "binary",
    "contentMediaType": "application/octet-stream",
    "description": "The recording: mp3, mp4, wav, flac, ogg, amr, webm or m4a.",
}
_MEDIA_URL: dict[str, Any] = {
    "type": "string",
    "maxLength": LONGEST_URL,
    "description": "Where the recording is: the server fetches it. https://, or s3:// where the server allows it.",
    "examples": ["https://example.com/talks/first.mp3"],
}

_UPLOAD_ID: dict[str, Any] = {
    "type": "string",
    "description": "What was put into the bucket: the identifier that POST /uploads has answered with.",
}

UPLOAD_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": _FILE, "media_url": _MEDIA_URL, "upload_id": _UPLOAD_ID, **_FIELDS},
                "oneOf": [{"required": [name]} for name in ("file", *SOURCE_FIELDS)],
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"media_url": _MEDIA_URL, "upload_id": _UPLOAD_ID, **_FIELDS},
                "oneOf": [{"required": [name]} for name in SOURCE_FIELDS],
            }
        },
    },
}

JOB_NAME_PARAMETER: dict[str, Any] = {
    "name": "job_name",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "example": "transcribe-a1b2c3d4-5678-90ab-cdef-1234567890ab",
}


def query_parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a parameter of the query; none is ever required."""
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


#: What the query may say beside the format.
RENDERING_PARAMETERS = [
    *(
        query_parameter(
            name,
            "For srt and vtt: how a cue may look, or how long it is shown.",
            {"type": "integer" if name in WHOLE_PARAMETERS else "number", "minimum": least, "maximum": most},
        )
        for name, (least, most) in CUE_PARAMETERS.items()
    ),
    query_parameter("csv_rows", "For csv: what a row is.", {"type": "string", "enum": list(CSV_ROWS)}),
]


def problems(descriptions: dict[int, str], models: dict[int, type] | None = None) -> dict[int | str, dict[str, Any]]:
    """Describe the errors that a route answers with, beside those that any request can be answered with."""
    return {
        status: {"model": (models or {}).get(status, Problem), "description": description, "headers": _ERROR_CODE}
        for status, description in sorted({**_ALWAYS, **descriptions}.items())
    }


def add_security_schemes(app: FastAPI) -> None:
    """Say in the OpenAPI document how a key is sent, and where; a server that is open asks for none."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        document = describe()
        document.setdefault("components", {})["securitySchemes"] = _SECURITY_SCHEMES
        for path, operations in document["paths"].items():
            for operation in operations.values():
                operation["security"] = [] if path in OPEN_PATHS else [*({name: []} for name in _SECURITY_SCHEMES), {}]
        return document

    app.openapi = described  # type: ignore[method-assign]


def add_documentation_page(app: FastAPI) -> None:
    """Serve Swagger UI at ``/docs`` from the files that the package ``fastapi-offline`` brings."""
    import fastapi_offline

    async def page(_request: Request) -> Response:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": DOCS_POLICY})

    async def start_script(_request: Request) -> Response:
        return Response(_START_SCRIPT, media_type="text/javascript")

    app.add_route("/docs", page, include_in_schema=False)
    app.add_route("/docs/start.js", start_script, include_in_schema=False)
    folder = Path(fastapi_offline.__file__).parent / "static"
    app.mount(ASSETS_PATH, StaticFiles(directory=folder), name="documentation-assets")
