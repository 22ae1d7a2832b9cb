"""Collections: edited under the same rules as through the API."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from rest_framework.exceptions import APIException
from unfold.widgets import UnfoldAdminTextareaWidget

from jobs.admin.access.scoping import ScopedAdmin
from jobs.admin.displays import moment, titled, words
from jobs.admin.filters import TenantFilter
from jobs.api.collections import CollectionSerializer
from jobs.api.errors import problem_response
from jobs.api.parsers import parse_json
from jobs.errors import DomainError
from jobs.models import Collection


class StepsField(forms.CharField):
    """JSON in a text area, read as strictly as a request's body."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 22, "spellcheck": "false", "class": "afd-code"})

    def prepare_value(self, value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value or [], indent=2, ensure_ascii=False)

    def to_python(self, value: Any) -> Any:
        text = str(super().to_python(value))
        try:
            return parse_json(text.encode()) if text else []
        except (DomainError, APIException) as error:
            raise ValidationError(said_by_the_api(error)) from error


class CollectionForm(forms.ModelForm):  # type: ignore[type-arg]
    steps = StepsField(
        help_text="A list of {name, service_required, payload}. Text in a payload may hold "
        "${variables.NAME} and, of an earlier step, ${steps.NAME.result.PATH}."
    )

    class Meta:
        model = Collection
        fields = ["tenant", "name", "steps"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "tenant" in self.fields and not self.instance._state.adding:
            # Shown and not to be changed, yet part of the form: names are unique within it.
            self.fields["tenant"].disabled = True

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "steps" not in cleaned or "name" not in cleaned:
            return cleaned
        serializer = CollectionSerializer(data={"name": cleaned["name"], "steps": cleaned["steps"]})
        try:
            serializer.is_valid(raise_exception=True)
        except APIException as error:
            self.add_error("steps", said_by_the_api(error))
        return {**cleaned, **serializer.validated_data}


def said_by_the_api(error: Exception) -> list[str]:
    """The sentences with which the API would refuse, each with the place it speaks of."""
    answer = problem_response(error, {})
    assert answer is not None
    assert answer.data is not None
    found = [f"{problem['pointer']} {problem['detail']}".strip() for problem in answer.data.get("errors", [])]
    return found or [answer.data["detail"]]


@admin.register(Collection)
class CollectionAdmin(ScopedAdmin):
    form = CollectionForm
    autocomplete_fields = ["tenant"]
    list_display = ["what", "tenant_slug", "step_names", "updated"]
    list_display_links = ["what"]
    list_filter = [TenantFilter]
    search_fields = ["name__icontains"]
    search_help_text = "Name"
    show_facets = admin.ShowFacets.NEVER

    def get_queryset(self, request: HttpRequest) -> QuerySet[Collection]:
        rows: QuerySet[Collection] = super().get_queryset(request)
        return rows.select_related("tenant")

    @admin.display(description="Collection")
    def what(self, collection: Collection) -> SafeString:
        return titled(collection.name, str(collection.pk))

    @admin.display(description="Tenant")
    def tenant_slug(self, collection: Collection) -> str:
        return collection.tenant.slug

    @admin.display(description="Steps")
    def step_names(self, collection: Collection) -> SafeString:
        return words(str(step.get("name", "?")) for step in collection.steps)

    @admin.display(description="Changed")
    def updated(self, collection: Collection) -> SafeString | None:
        return moment(collection.updated_at)
