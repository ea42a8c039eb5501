"""What a validator asks beyond the form that reading a document has proven. Pure.

Whoever reads a document with ``toolkit.mongo.scanner`` and finds its form exactly as expected has
proven names, BSON types and the region: the server need not look at those again. Lengths, labels,
bounds, patterns and the elements of arrays it still has to, but for what the parser looks at too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from toolkit.mongo.expected import Expected
from toolkit.mongo.moments import Timestamp
from toolkit.mongo.shape import region_schema
from toolkit.mongo.strings import String
from toolkit.mongo.values import Schema

#: Keywords that say nothing of a document.
_WORDS = {"description", "title"}
_OBJECT = {"bsonType", "required", "additionalProperties", "properties"}
#: Of a whole document: a link has one of two fields.
_SHAPE = {*_OBJECT, "oneOf"}


def unproven(validator: Schema, expected: Expected) -> Schema | None:
    """Return what of a validator is not proven by the form; ``None`` where all of it is.

    Args:
        validator: of a collection.
        expected: the form that every one of its documents has.
    """
    schema = validator.get("$jsonSchema")
    if schema is None or set(validator) != {"$jsonSchema"} or set(schema) - _SHAPE - _WORDS:
        return validator
    names = set(expected.names)
    if not set(schema["required"]) <= names <= set(schema["properties"]):
        return validator
    one_of = schema.get("oneOf")
    if one_of is not None and not _is_one_of(one_of, names):
        return validator
    proven = _proven(expected)
    left = {
        name: fragment
        for name, fragment in schema["properties"].items()
        # A field that may be there is not, in this form.
        if name in names
        and not _is_proven(fragment, name, proven, key=name == "_id" and not expected.single)
    }
    return {"$jsonSchema": {"properties": left}} if left else None


def _is_one_of(alternatives: Sequence[Schema], names: AbstractSet[str]) -> bool:
    """Return whether a document with these fields surely matches one alternative, and no other."""
    if any(set(one) != {"required"} for one in alternatives):
        return False
    return sum(set(one["required"]) <= names for one in alternatives) == 1


def _proven(expected: Expected) -> Mapping[str, Mapping[str, Any]]:
    """Return the keywords that the form proves besides the types, by field."""
    pattern = {"pattern": region_schema()["pattern"]}
    found: dict[str, Mapping[str, Any]] = dict.fromkeys(expected.references, pattern)
    for column in expected.columns:
        if type(column.bson) is Timestamp:
            found[column.names[1]] = {"minimum": 0, "maximum": 999}
        elif type(column.bson) is String:
            said = column.bson.schema(column.nullable)[0]
            found[column.names[0]] = {
                key: said[key] for key in ("maxLength", "enum") if key in said
            }
    if expected.region_field is not None:
        found[expected.region_field] = (
            {"enum": [expected.region]} if expected.region is not None else pattern
        )
    return found


def _is_proven(
    fragment: Mapping[str, Any],
    name: str,
    proven: Mapping[str, Mapping[str, Any]],
    *,
    key: bool = False,
) -> bool:
    """Return whether a fragment says no more than types and what is proven for its field.

    Args:
        fragment: of the schema.
        name: of the field.
        proven: keywords that need no asking, by field.
        key: whether it is the subdocument of a key, whose fields are columns. Of those of other
            subdocuments nothing but the types is proven.
    """
    said = {key: value for key, value in fragment.items() if key not in _WORDS}
    if "properties" in said:
        return set(said) <= _OBJECT and all(
            _is_proven(part, inner, proven if key else {})
            for inner, part in said["properties"].items()
        )
    said.pop("bsonType", None)
    return not said or said == proven.get(name)
