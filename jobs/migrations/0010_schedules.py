"""Schedules as records of the monitor: django-q2's table, under a name and rights of its own."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more"),
        ("jobs", "0009_audit_immutable"),
    ]

    operations = [
        migrations.CreateModel(
            name="Schedule",
            fields=[],
            options={
                "verbose_name": "schedule",
                "ordering": ["name", "pk"],
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("django_q.schedule",),
        ),
    ]
