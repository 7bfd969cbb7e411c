"""The JSON form of every page, described by OpenAPI from its view model. Pure."""

import typing
from typing import Any

from smarttext_pipelines.web.pages import PAGES

API = "/api/v1"
_ERRORS = {
    "400": "The address holds a date, a number or an id that is none.",
    "401": "Nobody signed in.",
    "403": "The proxy names nobody.",
    "404": "There is nothing of that name, or no such table.",
    "421": "The dashboard is not served under this name.",
    "500": "A fault of the server; its log has more.",
    "503": "The database cannot be reached or read.",
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}},
          "description": "What is wrong, in one line; errors are JSON, also where CSV was asked for."}  # fmt: skip
_QUERY = ("date", "from", "to", "business", "format", "table")


def openapi_document() -> dict[str, Any]:
    """Return the description of the JSON form of every page."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Error": _ERROR}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    errors = {status: {"description": said, "content": error} for status, said in _ERRORS.items()}
    for page in PAGES:
        model = typing.get_type_hints(page.view)["return"]
        schema = model.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
        names = [part.strip("{}") for part in page.route.split("/") if part.startswith("{")]
        paths[f"{API}{page.route}"] = {
            "get": {
                "operationId": page.name,
                "summary": (page.view.__doc__ or "").split(";")[0].strip().rstrip("."),
                "parameters": [
                    {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
                ]
                + [{"name": n, "in": "query", "schema": {"type": "string"}} for n in _QUERY],
                "responses": {
                    "200": {
                        "description": "The view model; with format=csv one of its tables.",
                        "content": {
                            "application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}},
                            "text/csv": {"schema": {"type": "string"}},
                        },
                    },
                    **errors,
                },
            }
        }  # fmt: skip
    info = {"title": "SmartText pipelines", "version": "1"}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas}}
