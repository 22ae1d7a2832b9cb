"""Who looks at the overview, over what time, and what they may see of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone

from jobs.admin.access.scoping import restriction_of, scope_of
from jobs.models import Cluster, EvaluationRun, Queue
from jobs.rollups.reading import WINDOWS, Window

DEFAULT_WINDOW = "hour"
CLUSTERS_MAX = 500  # one that ends takes its record along


@dataclass
class Sight:
    """One look at the figures; what several cards show is read once."""

    request: HttpRequest
    window: Window
    now: datetime

    @property
    def user(self) -> User | AnonymousUser:
        return self.request.user

    @property
    def scope(self) -> UUID:
        """Whose rollups and gauges these are."""
        return scope_of(self.user)

    @property
    def tenant(self) -> UUID | None:
        """The one tenant that this account sees."""
        return restriction_of(self.user)

    @cached_property
    def queues(self) -> list[Queue]:
        """Every queue that has a record; none for an account that may not see them."""
        return list(Queue.objects.all()) if self.may_see(Queue) else []

    @cached_property
    def clusters(self) -> list[Cluster]:
        return list(Cluster.objects.all()[:CLUSTERS_MAX]) if self.may_see(Cluster) else []

    @cached_property
    def last_run(self) -> EvaluationRun | None:
        """The evaluator's."""
        if not self.may_see(EvaluationRun):
            return None
        return EvaluationRun.objects.only("started_at", "finished_at", "evaluated_count").first()

    def may_see(self, model: type[Model]) -> bool:
        """Whether the account may open the list of these."""
        return admin.site.get_model_admin(model).has_view_or_change_permission(self.request)

    def may_change(self, model: type[Model]) -> bool:
        right = f"{model._meta.app_label}.change_{model._meta.model_name}"
        return self.may_see(model) and self.user.has_perm(right)


Card = dict[str, Any] | None  # what a card's template shows; None for an account that may not see it


def sight_of(request: HttpRequest) -> Sight:
    """What this request asks to see; a window that is none is the default one."""
    name = request.GET.get("window", DEFAULT_WINDOW)
    return Sight(request, WINDOWS.get(name, WINDOWS[DEFAULT_WINDOW]), timezone.now())
