"""JSON bodies read to the letter: `"30"` is no number, and a member is named where it is wrong."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar

import msgspec
from litestar.dto import AbstractDTO
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from tollgate.http.uploads import decode_json


class StrictJson(AbstractDTO[msgspec.Struct]):
    """Decodes a body straight into the handler's struct; Litestar alone would take text as numbers, and build the whole tree first."""

    _kinds: ClassVar[dict[str, Any]] = {}

    def decode_bytes(self, value: bytes) -> Any:
        """The struct. Raises `Invalid` at the member that does not fit, `Problem` for bytes that are no JSON."""
        return decode_json(value, self._kinds[self.asgi_connection.route_handler.handler_id])

    @classmethod
    def create_for_field_definition(cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None) -> None:
        """Remember what the handler takes."""
        cls._kinds[handler_id] = field_definition.annotation

    @classmethod
    def create_openapi_schema(cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any) -> Reference | Schema:
        """Described as the struct is."""
        found: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return found

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:
        """Nothing is transferred: the struct itself is the handler's."""
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        """See `generate_field_definitions`."""
        return False
