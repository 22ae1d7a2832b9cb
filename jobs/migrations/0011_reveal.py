"""The right to see masked values at the monitor."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0010_schedules")]

    operations = [
        migrations.AlterModelOptions(
            name="job",
            options={
                "ordering": ["-id"],
                "permissions": [("reveal_payloads", "Can reveal masked values")],
            },
        ),
    ]
