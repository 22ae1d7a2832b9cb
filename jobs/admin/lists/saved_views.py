"""Saved views: a list's filters under a name, an account's own or shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404

from jobs.admin.access.scoping import restriction_of
from jobs.admin.lists.addresses import Address
from jobs.models import SavedView
from jobs.queue.outcomes import UNSTORABLE
from jobs.services.audit import Actor, record_audit

NAME_MAX = 60
QUERY_MAX = 4_000
VIEWS_MAX = 50  # of an account, on one list


@dataclass(frozen=True)
class Tab:
    """A saved view above its list."""

    view: SavedView
    url: str
    is_current: bool
    is_mine: bool
    may_change: bool


def visible_views(request: HttpRequest, model: str) -> QuerySet[SavedView]:
    """An account's own, and what others share: to a restricted account only those with the same restriction do."""
    shared = Q(is_shared=True)
    if tenant := restriction_of(request.user):
        shared &= Q(user__restriction__tenant=tenant)
    return SavedView.objects.filter(Q(user=request.user.pk) | shared, model=model)


def tabs_of(request: HttpRequest, model: str, address: Address) -> list[Tab]:
    views = (
        visible_views(request, model)
        .select_related("user")
        .only("name", "query", "is_shared", "user__username")
    )
    return [
        Tab(
            view=view,
            url=f"?{view.query}" if view.query else "?",
            is_current=view.query == address.query,
            is_mine=view.user_id == request.user.pk,
            may_change=may_change(request, view),
        )
        for view in views[: 2 * VIEWS_MAX]
    ]


def may_change(request: HttpRequest, view: SavedView) -> bool:
    """Its own account may; where it is shared, a superuser too."""
    return view.user_id == request.user.pk or (view.is_shared and request.user.is_superuser)


def save_view(request: HttpRequest, model: str, list_url: str) -> HttpResponse:
    """Keep the filters of a list under a name; one of that name is changed."""
    query = Address.of(QueryDict(request.POST.get("query", "")[: QUERY_MAX + 1]).lists()).query
    name = _name_in(request)
    back = HttpResponseRedirect(f"{list_url}?{query}" if query else list_url)
    if problem := _problem_of(name, query, visible_views(request, model).filter(user=request.user.pk)):
        messages.error(request, problem)
        return back
    shared = "is_shared" in request.POST
    with transaction.atomic():
        view, _ = SavedView.objects.update_or_create(
            user=request.user, model=model, name=name, defaults={"query": query, "is_shared": shared}
        )
        after = {"list": model, "query": query, "is_shared": shared}
        record_audit(
            Actor.of_request(request), "save view", view, after=after, tenant_id=restriction_of(request.user)
        )
    messages.success(request, f"Kept as “{name}”.")
    return back


def change_view(request: HttpRequest, model: str, pk: int, list_url: str) -> HttpResponse:
    """Rename a view, share it or keep it to oneself."""
    view = _changeable(request, model, pk)
    back = HttpResponseRedirect(f"{list_url}?{view.query}" if view.query else list_url)
    before = {"name": view.name, "is_shared": view.is_shared}
    view.name, view.is_shared = _name_in(request), "is_shared" in request.POST
    if not view.name:
        messages.error(request, "A view needs a name.")
        return back
    try:
        with transaction.atomic():
            view.save(update_fields=["name", "is_shared"])
            after = {"name": view.name, "is_shared": view.is_shared}
            _audit(request, "change", view, before=before, after=after)
    except IntegrityError:
        messages.error(request, f"There is a view “{view.name}” already.")
    return back


def delete_view(request: HttpRequest, model: str, pk: int, list_url: str) -> HttpResponse:
    view = _changeable(request, model, pk)
    with transaction.atomic():
        before = {"name": view.name, "query": view.query, "is_shared": view.is_shared}
        _audit(request, "delete", view, before=before)
        view.delete()
    messages.success(request, f"The view “{view.name}” is gone.")
    return HttpResponseRedirect(list_url)


def _changeable(request: HttpRequest, model: str, pk: int) -> SavedView:
    view = get_object_or_404(visible_views(request, model), pk=pk)
    if not may_change(request, view):
        raise PermissionDenied
    return view


def _audit(request: HttpRequest, action: str, view: SavedView, **changed: Any) -> None:
    record_audit(Actor.of_request(request), action, view, tenant_id=restriction_of(request.user), **changed)


def _name_in(request: HttpRequest) -> str:
    return UNSTORABLE.sub("\ufffd", request.POST.get("name", "")).strip()[:NAME_MAX]


def _problem_of(name: str, query: str, mine: QuerySet[SavedView]) -> str:
    """Why a view can't be kept; "" where it can."""
    if not name:
        return "A view needs a name."
    if len(query) > QUERY_MAX:
        return f"Filters of more than {QUERY_MAX:,} characters are not kept."
    if mine.exclude(name=name).count() >= VIEWS_MAX:
        return f"An account keeps {VIEWS_MAX} views of a list at most: delete one first."
    return ""
