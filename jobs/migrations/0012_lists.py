from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0011_reveal")]

    operations = [
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["tenant", "-id"], name="event_tenant_newest"),
        ),
    ]
