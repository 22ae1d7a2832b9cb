"""Forms whose last check is the service itself."""

from __future__ import annotations

from django import forms
from django.db import transaction

from jobs.errors import DomainError, FieldProblem


class ServiceForm(forms.ModelForm):  # type: ignore[type-arg]
    """What the service refuses is said at the fields it names; once the form is valid, the service has done it."""

    def serve(self) -> None:
        """Call the service with what is clean; raises DomainError."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        try:
            with transaction.atomic():
                self.serve()
        except DomainError as refusal:
            for problem in refusal.errors or [FieldProblem("", refusal.code, refusal.detail)]:
                self.add_error(*self.at_field(problem))

    def at_field(self, problem: FieldProblem) -> tuple[str | None, str]:
        """The field a problem belongs to, none for the form as a whole, and what is said there."""
        field, _, rest = problem.pointer.removeprefix("/").partition("/")
        is_named = not rest or rest in problem.detail
        detail = problem.detail if is_named else f"{rest}: {problem.detail}"
        return (field if field in self.fields else None), detail
