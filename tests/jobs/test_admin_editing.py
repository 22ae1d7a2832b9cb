"""Edit and retry: what is typed is checked, shown as a difference, and only then takes effect."""

from __future__ import annotations

import json
import re
import time
from html import unescape
from typing import Any

import pytest
from django.db.models import JSONField, Value
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from jobs.admin.documents import laid_out
from jobs.admin.units.diffs import CHANGED, COMPARED_LINES, diff_of, mask_changes
from jobs.admin.units.editing import Refused, payload_of, text_of
from jobs.hygiene.masking import MASK, mask, mask_text, unmask
from jobs.models import AuditEntry, Event, Job, Tenant
from jobs.services.jobs import retry_job
from tests.factories import make_job, make_operator, make_superuser, make_workflow

FIELDS = ["*token*", "password"]


@pytest.fixture
def operator(db: None) -> Client:
    return client_of(make_superuser("olivia"))


@pytest.fixture
def job(tenant: Tenant) -> Job:
    payload = {"prompt": "a lake", "width": 64, "token": "s3cret"}
    return make_job(tenant, service_required="artgen", status="failed", attempt=3, payload=payload)


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def edit_url(job: Job) -> str:
    return reverse("admin:jobs_job_edit", args=[job.pk])


def form_of(client: Client, job: Job) -> dict[str, str]:
    """What the form of a job holds when it is opened."""
    html = client.get(edit_url(job)).content.decode()
    state = re.search(r'name="state" value="(\w+)"', html)
    text = re.search(r"<textarea[^>]*>\n?(.*?)</textarea>", html, re.DOTALL)
    assert state
    assert text
    return {"state": state[1], "payload": unescape(text[1]), "reason": "it was too small"}


def typed(form: dict[str, str], **changes: Any) -> dict[str, str]:
    """A form whose payload somebody has changed."""
    return {**form, "payload": json.dumps({**json.loads(form["payload"]), **changes}, indent=2)}


# --- From the form to the queue ---------------------------------------------------------------------


def test_an_edit_is_seen_first_and_then_retried(operator: Client, job: Job) -> None:
    form = typed(form_of(operator, job), width=128)

    preview = operator.post(edit_url(job), {**form, "step": "preview"})
    job.refresh_from_db()
    status_before = job.status
    operator.post(edit_url(job), {**form, "step": "confirm"})

    job.refresh_from_db()
    signs = [(line.sign, line.text.strip()) for line in preview.context["diff"] if line.sign in "+-"]
    event = Event.objects.get(job=job, type="retried")
    entry = AuditEntry.objects.get(action="edit and retry")
    assert signs == [("-", '"width": 64,'), ("+", '"width": 128,')]
    assert status_before == "failed"
    assert job.status == "queued"
    assert job.payload == {"prompt": "a lake", "width": 128, "token": "s3cret"}
    assert event.data["by"] == "olivia"
    assert event.data["reason"] == entry.reason == "it was too small"
    assert entry.before == {"status": "failed", "payload": {"prompt": "a lake", "width": 64, "token": MASK}}
    assert entry.after == {"status": "queued", "payload": {"prompt": "a lake", "width": 128, "token": MASK}}


def test_the_form_does_not_show_what_is_masked(operator: Client, job: Job) -> None:
    form = form_of(operator, job)

    assert json.loads(form["payload"])["token"] == MASK


def test_a_masked_value_that_is_typed_anew_takes_its_place(operator: Client, job: Job) -> None:
    form = typed(form_of(operator, job), token="another")

    preview = operator.post(edit_url(job), {**form, "step": "preview"})
    operator.post(edit_url(job), {**form, "step": "confirm"})

    job.refresh_from_db()
    assert f'"token": "{CHANGED}"' in "\n".join(line.text for line in preview.context["diff"])
    assert job.payload["token"] == "another"
    after = {"prompt": "a lake", "width": 64, "token": CHANGED}
    assert AuditEntry.objects.get(action="edit and retry").after == {"status": "queued", "payload": after}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n  "a": 1\n  "b": 2\n}', "Line 3, column 3"),
        ("[1, 2]", "JSON object"),
        ("null", "JSON object"),
        ("", "Line 1, column 1"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1, "a": 2}', "appears twice"),
        ('{"a": "\\u0000"}', "can't be stored"),
        ('{"a": ' * 80 + "1" + "}" * 80, "64 levels"),
        (f'{{"new": "{MASK}"}}', "nothing is hidden"),
        ('{"a": ' + "1" * 4_301 + "}", "number that is too long"),
    ],
)
def test_what_can_not_be_taken_is_told_and_kept(operator: Client, job: Job, text: str, said: str) -> None:
    form = {**form_of(operator, job), "payload": text}

    response = operator.post(edit_url(job), {**form, "step": "confirm"})

    html = unescape(response.content.decode())
    job.refresh_from_db()
    assert said in html
    assert text in html
    assert "it was too small" in html
    assert job.status == "failed"


def test_an_edit_needs_a_reason(operator: Client, job: Job) -> None:
    form = {**typed(form_of(operator, job), width=1), "reason": " "}

    response = operator.post(edit_url(job), {**form, "step": "confirm"})

    job.refresh_from_db()
    assert "Say why" in response.content.decode()
    assert job.status == "failed"


def test_a_job_that_has_changed_meanwhile_is_not_retried(operator: Client, job: Job) -> None:
    form = typed(form_of(operator, job), width=1)
    Job.objects.filter(pk=job.pk).update(attempt=2)

    response = operator.post(edit_url(job), {**form, "step": "confirm"})

    job.refresh_from_db()
    assert "has changed since" in response.content.decode()
    assert '"width": 1' in unescape(response.content.decode())
    assert job.status == "failed"


def test_what_the_platform_refuses_is_told_at_the_form(operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, status="cancelled")
    step = make_job(
        tenant, service_required="artgen", workflow=workflow, step_index=0, status="failed", payload={"a": 1}
    )
    form = typed(form_of(operator, step), a=2)

    response = operator.post(edit_url(step), {**form, "step": "confirm"})

    assert "workflow has not failed" in unescape(response.content.decode())
    assert '"a": 2' in unescape(response.content.decode())
    assert not AuditEntry.objects.filter(action="edit and retry").exists()


def test_a_payload_that_its_kind_does_not_take_is_refused(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant, status="failed", payload={})
    form = {**form_of(operator, job), "payload": '{"nobody_knows_this": 1}'}

    response = operator.post(edit_url(job), {**form, "step": "confirm"})

    job.refresh_from_db()
    assert "nobody_knows_this" in unescape(response.content.decode())
    assert job.status == "failed"


@pytest.mark.parametrize("status", ["queued", "running", "completed"])
def test_only_what_failed_or_was_cancelled_is_edited(operator: Client, tenant: Tenant, status: str) -> None:
    job = make_job(tenant, status=status)

    response = operator.get(edit_url(job))

    assert response.status_code == 302
    assert edit_url(job) not in operator.get(response.headers["Location"]).content.decode()


def test_a_retry_by_somebody_else_comes_first(operator: Client, job: Job) -> None:
    form = typed(form_of(operator, job), width=1)
    retry_job(job, by="bob")

    response = operator.post(edit_url(job), {**form, "step": "confirm"}, follow=True)

    job.refresh_from_db()
    assert "only a failed or cancelled job" in response.content.decode()
    assert job.payload["width"] == 64


def test_who_may_only_look_may_not_edit(job: Job) -> None:
    viewer = client_of(make_operator("jobs.view_job"))

    page = viewer.get(reverse("admin:jobs_job_change", args=[job.pk])).content.decode()

    assert viewer.get(edit_url(job)).status_code == 403
    assert viewer.post(edit_url(job), {"step": "confirm", "payload": "{}"}).status_code == 403
    assert edit_url(job) not in page


@pytest.mark.parametrize("payload", [None, ["a"], "text", {"rows": ["x" * 90] * 10_000}])
def test_a_payload_of_any_shape_can_be_replaced(operator: Client, job: Job, payload: Any) -> None:
    Job.objects.filter(pk=job.pk).update(payload=Value(payload, JSONField()))  # JSON's null, too
    form = {**form_of(operator, job), "payload": '{"prompt": "new"}'}

    preview = operator.post(edit_url(job), {**form, "step": "preview"})
    operator.post(edit_url(job), {**form, "step": "confirm"})

    job.refresh_from_db()
    assert preview.context["diff"]
    assert job.payload == {"prompt": "new"}


# --- Masks ------------------------------------------------------------------------------------------


def test_masks_stand_for_what_was_there() -> None:
    original = {"a": {"token": {"deep": 1}}, "list": [{"token": "x", "n": 1}, {"token": "y"}], "password": ""}
    edited = json.loads(text_of(original))
    edited["width"] = 2

    assert payload_of(json.dumps(edited), original) == {**original, "width": 2}


@pytest.mark.parametrize("order", [[1, 0], [1], [0, 1, 1]])
def test_masks_are_not_guessed_where_items_have_moved(order: list[int]) -> None:
    original = {"list": [{"token": "x", "n": 1}, {"token": "y", "n": 2}]}
    items = json.loads(text_of(original))["list"]
    moved = json.dumps({"list": [items[place] for place in order]})

    with pytest.raises(Refused, match="can't be put back"):
        payload_of(moved, original)


@pytest.mark.parametrize(
    "items",
    [
        [{"id": 2, "new": 1, "password": MASK}, {"id": 1, "new": 1, "password": MASK}],
        [{"id": 3, "password": MASK}, {"id": 2, "password": MASK}],
    ],
)
def test_a_mask_is_put_back_into_an_item_that_is_as_it_was(items: list[Any]) -> None:
    original = {"list": [{"id": 1, "password": "one"}, {"id": 2, "password": "two"}]}

    with pytest.raises(Refused, match="can't be put back"):
        payload_of(json.dumps({"list": items}), original)


def test_a_password_is_not_sent_to_another_host_or_under_another_name() -> None:
    original = {"url": "https://u:s3cret@here.example/", "header": ["Authorization", "s3cret"]}

    for name, edited in (("url", f"https://u:{MASK}@there.example/"), ("header", ["X-Seen", MASK])):
        with pytest.raises(Refused):
            payload_of(json.dumps({**json.loads(text_of(original)), name: edited}), original)


SHAPES = [
    [["Authorization", "s3cret"], ["Accept", "all"]],
    '{"password": "s3cret", "deep": "{\\"token\\": \\"s3cret\\"}"}',
    ' [{"password": "s3cret", "cut',
    '[["my_token", "s3cret',
    "https://u:s3cret@host.example/?a=1&api_token=s3cret&b=2#token=s3cret",
    "look: http://s3cret@host.example/ and amqp://:s3cret@host.example",
    "/back?token=s3cret",
]


@pytest.mark.parametrize("value", SHAPES)
def test_what_is_sensitive_is_found_in_other_shapes_too(value: Any) -> None:
    fields = [*FIELDS, "authorization"]

    masked = mask(value, fields)

    assert "s3cret" not in json.dumps(masked)
    assert MASK in json.dumps(masked, ensure_ascii=False)
    assert mask(masked, fields) == masked
    assert unmask(masked, value, fields) == value


@pytest.mark.parametrize(
    "value",
    [
        "ssh://git@host.example/a",
        "me@host.example",
        '{"a": 1, "b": [',
        "https://host.example/?a=1",
        ["a", "b"],
        "a?token=1",
    ],
)
def test_what_is_not_sensitive_is_as_it_was(value: Any) -> None:
    assert mask(value, FIELDS) == value


words = st.sampled_from(
    ["token", "password", "a", "", "https://u:p@h/?token=x&b=c", '{"token": "x"}', '["token", "x"]', MASK]
)
values = st.recursive(
    st.none() | st.integers() | words | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
)


@given(values)
def test_masking_twice_is_masking_once_and_is_taken_back(value: Any) -> None:
    masked = mask(value, FIELDS)

    assert mask(masked, FIELDS) == masked
    assert unmask(masked, value, FIELDS) == value


@pytest.mark.parametrize(
    "text", ["://@" + "?a=" * 200_000, "://@=" + "a:" * 300_000, '{"' * 300_000, "[" * 600_000]
)
def test_hostile_text_is_masked_in_no_time(text: str) -> None:
    began = time.monotonic()

    mask(text, FIELDS)

    assert time.monotonic() - began < 5


def test_a_mask_that_a_client_has_stored_is_a_word_like_any_other() -> None:
    original = {"note": MASK}

    assert payload_of(text_of(original), original) == original


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"api_token": "x", "n": 1', f'{{"api_token": "{MASK}", "n": 1'),
        ('{"token": "cut off', f'{{"token": "{MASK}"'),
        ('{"a": {"token": [1, 2', f'{{"a": {{"token": "{MASK}"'),
        ('{"token" : 12}', f'{{"token" : "{MASK}"}}'),
        ('{"token": null, "password": ""}', '{"token": null, "password": ""}'),
        ('{"a\\"token": "x"}', f'{{"a\\"token": "{MASK}"}}'),
        ("plain words, token: x", "plain words, token: x"),
    ],
)
def test_what_is_cut_off_is_masked_too(text: str, masked: str) -> None:
    assert mask_text(text, FIELDS) == masked


# --- Differences ------------------------------------------------------------------------------------


def applied(before: Any, after: Any) -> tuple[list[str], list[str]]:
    """Both texts as a difference without folds tells them."""
    lines = diff_of(before, after)
    old = [line.text for line in lines if line.sign in " -"]
    new = [line.text for line in lines if line.sign in " +"]
    return old, new


def test_a_difference_tells_both_sides() -> None:
    before, after = {"a": [1, 2, 3], "b": "x"}, {"a": [1, 3, 4], "c": "x"}

    assert applied(before, after) == (laid_out(before).split("\n"), laid_out(after).split("\n"))


def test_lines_are_numbered_in_each_text_and_folded_where_they_are_the_same() -> None:
    before = {f"key{number:02}": number for number in range(40)}

    lines = diff_of(before, {**before, "key20": -1})

    assert [line.sign for line in lines] == ["…", " ", " ", " ", "-", "+", " ", " ", " ", "…"]
    assert (lines[4].old, lines[5].new) == (22, 22)
    assert lines[0].text == "18 lines the same"


def test_equal_values_differ_in_nothing() -> None:
    assert diff_of({"a": 1}, {"a": 1}) == []


def test_what_differs_everywhere_is_told_without_being_compared() -> None:
    before, after = list(range(COMPARED_LINES)), list(range(1, 2 * COMPARED_LINES, 2))

    lines = diff_of(before, after)

    assert lines[-1].sign == "…"
    assert "more lines" in lines[-1].text


def test_a_change_in_any_shape_is_said_and_not_shown() -> None:
    before = {"url": "https://u:old@host.example/", "header": ["my_token", "old"], "same": "https://u:old@b"}
    after = {**before, "url": "https://u:new@host.example/", "header": ["my_token", "new"]}

    old, new = mask_changes(before, after, FIELDS)

    assert old == {
        "url": f"https://u:{MASK}@host.example/",
        "header": ["my_token", MASK],
        "same": f"https://u:{MASK}@b",
    }
    assert new == {**old, "url": f"https://u:{MASK}@host.example/ (changed)", "header": ["my_token", CHANGED]}


def test_a_change_below_a_mask_is_said_and_not_shown() -> None:
    before, after = mask_changes(
        {"token": "x", "same": {"password": "p"}}, {"token": "y", "same": {"password": "p"}}, FIELDS
    )

    assert before == {"token": MASK, "same": {"password": MASK}}
    assert after == {"token": CHANGED, "same": {"password": MASK}}
