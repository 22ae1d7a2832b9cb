"""What a form has changed, as the audit log keeps it: JSON, and never a secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model
from django.forms.formsets import DELETION_FIELD_NAME
from django.forms.models import ModelChoiceField, ModelMultipleChoiceField, model_to_dict

from jobs.admin.access.columns import is_secret
from jobs.hygiene.masking import MASK, mask
from jobs.queue.outcomes import UNSTORABLE

Values = dict[str, Any]

# What these hold is picked, not typed: no secret.
PICKED = (forms.ChoiceField, forms.BooleanField, forms.IntegerField, ModelChoiceField)


def change_of(form: Any, formsets: Iterable[Any], *, is_new: bool) -> tuple[Values | None, Values]:
    """The values before and after a form and those that stand in it were saved; before is None for a new record."""
    before, after = _before(form), _after(form)
    for formset in formsets:
        name = str(formset.model._meta.verbose_name)
        changed = [each for each in formset.forms if each.has_changed()]
        if changed:
            before[name] = [_before(each) for each in changed if each.initial]
            after[name] = [_after(each) for each in changed if each not in formset.deleted_forms]
    return (None if is_new else _masked(before)), _masked(after)


def values_of(record: Model) -> Values:
    """What a record holds that people can edit."""
    return _masked(
        {
            name: MASK if value and is_secret(record._meta.get_field(name)) else as_json(value)
            for name, value in model_to_dict(record).items()
        }
    )


def as_json(value: Any) -> Any:
    """The value as JSON can hold it; a record by its name."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(name): as_json(inner) for name, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [as_json(item) for item in value]
    return UNSTORABLE.sub("\ufffd", str(value))


def _before(form: Any) -> Values:
    return {name: _shown(form, name, form.initial.get(name)) for name in _changed(form)}


def _after(form: Any) -> Values:
    return {name: _shown(form, name, form.cleaned_data.get(name)) for name in _changed(form)}


def _changed(form: Any) -> list[str]:
    return [name for name in form.changed_data if name != DELETION_FIELD_NAME]


def _shown(form: Any, name: str, value: Any) -> Any:
    field = form.fields[name]
    if value not in (None, "") and not isinstance(field, PICKED) and not _may_be_kept(form, name):
        return MASK
    if isinstance(field, ModelChoiceField) and not isinstance(field, ModelMultipleChoiceField):
        return as_json(_record_of(field, value))
    return as_json(value)


def _record_of(field: Any, value: Any) -> Any:
    """The record that a form's initial value, its key, stands for."""
    if value is None or isinstance(value, Model):
        return value
    return field.queryset.model._default_manager.filter(pk=value).first() or value


def _may_be_kept(form: Any, name: str) -> bool:
    """Whether what was typed is that of a column, and of none that is secret."""
    try:
        return not is_secret(form._meta.model._meta.get_field(name))
    except FieldDoesNotExist:
        return False


def _masked(values: Values) -> Values:
    masked: Values = mask(values, settings.MASKED_FIELDS)
    return masked
