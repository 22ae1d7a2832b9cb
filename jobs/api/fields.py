"""Serializer parts that several calls share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

WORKFLOW_ID = r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}"
ATTEMPT = re.compile(r":attempt-[0-9]+\Z")
NAME = r"^[A-Za-z0-9][A-Za-z0-9._:@/-]*\Z"
INT4_MAX = 2_147_483_647


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields it does not know: a misspelt option must not be silently without effect."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = {name for name, field in self.fields.items() if not field.read_only}
            unknown = {key: [self._unknown(key)] for key in data if key not in known}
            if unknown:
                raise serializers.ValidationError(unknown)
        return super().to_internal_value(data)

    @staticmethod
    def _unknown(key: str) -> serializers.ErrorDetail:
        return serializers.ErrorDetail(f"There is no field {key!r} here.", code="unknown_field")


_instances: dict[type[serializers.BaseSerializer[Any]], serializers.BaseSerializer[Any]] = {}


def _made_once(serializer: type[serializers.BaseSerializer[Any]]) -> serializers.BaseSerializer[Any]:
    if serializer not in _instances:
        _instances[serializer] = serializer()
    return _instances[serializer]


def validated(serializer: type[serializers.BaseSerializer[Any]], data: Any) -> dict[str, Any]:
    """What `serializer` makes of a request's body. Raises ValidationError.

    One instance serves every call: making its fields anew costs more than a query.
    """
    fields: dict[str, Any] = _made_once(serializer).run_validation(data)
    return fields


def shown(serializer: type[serializers.BaseSerializer[Any]], instance: Any) -> dict[str, Any]:
    """`instance` as `serializer` shows it, by the same one instance."""
    body: dict[str, Any] = _made_once(serializer).to_representation(instance)
    return body


class ObjectField(serializers.JSONField):
    """A JSON object."""

    default_error_messages = {"not_an_object": "This must be a JSON object."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("not_an_object")
        return data


class NumberField(serializers.FloatField):
    """A JSON number: no text that reads like one, and so no NaN and no infinity either."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class BoundedListField(serializers.ListField):
    """A list whose length is checked before its items are: one that is too long costs nothing."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list):
            self.run_validators(data)
        return super().to_internal_value(data)


class NameField(serializers.RegexField):
    """A short name that is safe in logs, keys and file names."""

    def __init__(self, *, max_length: int = 100, **options: Any) -> None:
        super().__init__(NAME, max_length=max_length, **options)


class WorkflowIdField(serializers.RegexField):
    """A name that a client gives a workflow.

    None ends in `:attempt-2` or the like: so the attestation key of a retried workflow does, and that of a
    workflow of such a name would be the same.
    """

    default_error_messages = {"reserved": "A workflow_id may not end in :attempt- and a number."}

    def __init__(self, **options: Any) -> None:
        super().__init__(rf"^{WORKFLOW_ID}\Z", **options)

    def to_internal_value(self, data: Any) -> str:
        name: str = super().to_internal_value(data)
        if ATTEMPT.search(name):
            self.fail("reserved")
        return name
