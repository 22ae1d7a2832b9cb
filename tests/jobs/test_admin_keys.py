"""Keys that nothing can have, posted to lists: a bad request, and never a failure of ours."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from jobs.models import Cluster, Job, Queue, Schedule
from tests.factories import make_superuser

MODELS = [Cluster, Group, Job, Queue, Schedule, User]


@pytest.fixture
def root(db: None) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(make_superuser("root"))
    return client


@pytest.mark.parametrize("key", ["abc", "", "1\0", "1.5"])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_list_asked_to_act_on_what_is_no_key_answers_400(
    root: Client, model: type[Model], key: str
) -> None:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    actions: list[Any] = list(admin.site.get_model_admin(model).actions or ())

    for action in [
        *(getattr(each, "__name__", each) for each in actions),
        "delete_selected",
        "no_such_action",
    ]:
        for confirmed in ({}, {"confirmed": "1", "reason": "why"}):
            posted = root.post(url, {"action": action, ACTION_CHECKBOX_NAME: [key], **confirmed})
            assert posted.status_code == 400, (action, confirmed)
