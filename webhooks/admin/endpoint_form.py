"""The form of endpoints: what the API takes, and headers that are typed and never shown again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.views.decorators.debug import sensitive_variables
from rest_framework.exceptions import APIException
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanWidget,
)

from jobs.admin.api_keys import ShownOnce
from jobs.admin.collections import said_by_the_api
from jobs.admin.forms import ServiceForm
from jobs.api.fields import INT4_MAX
from jobs.api.parsers import parse_json
from jobs.errors import DomainError
from webhooks.events import CATALOGUE, CHOOSABLE
from webhooks.models import Endpoint
from webhooks.services.endpoints import change_endpoint, create_endpoint

FIELDS = ("url", "description", "event_types", "max_in_flight", "max_per_minute")


class HeadersField(forms.CharField):
    """Headers as a JSON object, or as lines `Name: value`; None where nothing is typed."""

    widget = UnfoldAdminTextareaWidget(
        attrs={"rows": 4, "spellcheck": "false", "autocomplete": "off", "class": "afd-code"}
    )

    def to_python(self, value: Any) -> Any:
        text = str(super().to_python(value))
        if not text:
            return None
        return _read_object(text) if text.startswith("{") else _read_lines(text)


def _read_object(text: str) -> dict[str, str]:
    try:
        headers = parse_json(text.encode())
    except (DomainError, APIException) as error:
        raise forms.ValidationError(said_by_the_api(error)) from error
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise forms.ValidationError("Each header has a text as its value.")
    return headers


def _read_lines(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for number, line in enumerate(text.strip().replace("\r\n", "\n").split("\n"), start=1):
        name, colon, value = line.partition(":")
        # The line is not quoted: it may hold a password.
        if not colon or not name.strip():
            raise forms.ValidationError(f"Line {number} is no `Name: value`.")
        if name.strip() in headers:
            raise forms.ValidationError(f"Line {number} gives a header a second time.")
        headers[name.strip()] = value.strip()
    return headers


class EndpointForm(ServiceForm):
    event_types = forms.MultipleChoiceField(
        choices=[(name, f"{name}: {CATALOGUE[name].tells}") for name in CHOOSABLE],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        required=False,
        help_text="None: every type of event, those to come as well.",
    )
    max_in_flight = forms.IntegerField(
        min_value=1,
        max_value=200,
        initial=20,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Deliveries that are sent at the same time.",
    )
    max_per_minute = forms.IntegerField(
        min_value=1,
        max_value=INT4_MAX,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="None: as fast as it takes them.",
    )
    headers = HeadersField(
        required=False,
        help_text="Sent along with each message: lines like Authorization: Bearer …, or a JSON object. Stored "
        "sealed and never shown.",
    )
    remove_headers = forms.BooleanField(
        required=False, widget=UnfoldBooleanWidget, help_text="Send none of the headers along any more."
    )

    class Meta:
        model = Endpoint
        fields = ["tenant", "url", "description", "event_types", "max_in_flight", "max_per_minute"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not self.instance._state.adding and "headers" in self.fields:
            self.fields[
                "headers"
            ].help_text += " They replace those that are sent along now; empty: unchanged."

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("remove_headers") and cleaned.get("headers"):
            self.add_error("remove_headers", "Either other headers or none.")
        return cleaned

    @sensitive_variables("text")
    def serve(self) -> None:
        wanted = given(self, *FIELDS)
        if self.cleaned_data.get("headers") is not None:
            wanted["headers"] = self.cleaned_data["headers"]
        elif self.cleaned_data.get("remove_headers"):
            wanted["headers"] = {}
        if self.instance._state.adding:
            self.endpoint, text = create_endpoint(self.cleaned_data["tenant"], **wanted)
            self.secret_text = ShownOnce(text)
        elif wanted:
            change_endpoint(self.instance, **wanted)


def given(form: Any, *names: str) -> dict[str, Any]:
    """The cleaned values of those of `names` that were changed."""
    return {name: form.cleaned_data[name] for name in names if name in form.changed_data}
