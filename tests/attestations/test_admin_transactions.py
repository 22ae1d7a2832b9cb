"""Transactions in the admin: what each was for, also where that is forgotten, and how it is found."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from attestations.models import ChainTransaction
from jobs.models import Tenant, Workflow
from tests.factories import make_submission, make_superuser, make_transaction, make_workflow

LIST = reverse("admin:attestations_chaintransaction_changelist")


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(make_superuser("alice"))
    return client


@pytest.fixture
def session(tenant: Tenant) -> Workflow:
    return make_workflow(tenant, kind="proof", workflow_id="session-s-1", session_id="s-1", data={"a": "b"})


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def shown(client: Client, url: str, **search: str) -> str:
    response = client.get(url, search)
    assert response.status_code == 200
    return response.content.decode()


def test_a_sessions_transaction_leads_to_its_workflow(operator: Client, session: Workflow) -> None:
    row = make_transaction(workflow=session)

    for html in (shown(operator, LIST), shown(operator, page_of(row))):
        assert page_of(session) in html
        assert "session-s-1" in html
    assert row.sha256_hash in shown(operator, page_of(row))


def test_a_transaction_outlives_its_session(operator: Client, session: Workflow) -> None:
    row = make_transaction(workflow=session)
    key = str(session.pk)
    session.delete()

    for html in (shown(operator, LIST), shown(operator, page_of(row))):
        assert key in html
        assert row.transaction_id[:14] in html


def test_one_that_is_nobodys_says_so(operator: Client) -> None:
    row = make_transaction()

    assert "by hand" in shown(operator, LIST)
    assert row.sha256_hash in shown(operator, page_of(row))


@pytest.mark.parametrize("count", [1, 10])
def test_the_list_costs_the_same_whatever_they_were_for(
    operator: Client, tenant: Tenant, django_assert_num_queries: Any, count: int
) -> None:
    for _ in range(count):
        make_transaction(workflow=make_workflow(tenant, kind="proof"))
        make_transaction(make_submission(tenant))
        make_transaction()

    with django_assert_num_queries(9) as captured:
        shown(operator, LIST)

    (rows,) = [
        each["sql"]
        for each in captured.captured_queries
        if "attestations_chaintransaction" in each["sql"] and '"nonce"' in each["sql"]
    ]
    for column in ("raw", "proof_json", "data", "miniapp_req", "outputs"):
        assert f'"{column}"' not in rows


@pytest.mark.parametrize("by", ["transaction_id", "sha256_hash", "submission_id", "workflow_id", "name"])
def test_each_is_found_by_what_it_is_of(operator: Client, tenant: Tenant, session: Workflow, by: str) -> None:
    of_submission, of_session = make_transaction(make_submission(tenant)), make_transaction(workflow=session)
    sought: ChainTransaction = of_submission if by == "submission_id" else of_session
    other = of_session if by == "submission_id" else of_submission
    term = session.workflow_id if by == "name" else str(getattr(sought, by))

    html = shown(operator, LIST, q=term)

    assert page_of(sought) in html
    assert page_of(other) not in html
