from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("attestations", "0007_transactions_of_sessions")]

    operations = [
        migrations.AddIndex(
            model_name="attestation",
            index=models.Index(fields=["tenant", "-id"], name="attestation_tenant_newest"),
        ),
    ]
