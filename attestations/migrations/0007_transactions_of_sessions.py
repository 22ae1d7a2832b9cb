"""Transactions are signed for sessions, too, or by hand: each has its digest and its tenant itself."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

FILL = """
UPDATE attestations_chaintransaction AS sent
SET tenant_id = submission.tenant_id, sha256_hash = submission.sha256_hash
FROM attestations_submission AS submission
WHERE submission.id = sent.submission_id;
"""

# What was not sent for a submission had no place before.
FORGET = "DELETE FROM attestations_chaintransaction WHERE submission_id IS NULL;"


class Migration(migrations.Migration):
    dependencies = [
        ("attestations", "0006_proof_sessions"),
        ("jobs", "0007_session_events"),
    ]

    operations = [
        migrations.AlterField(
            model_name="chaintransaction",
            name="submission",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="transactions",
                to="attestations.submission",
            ),
        ),
        migrations.AddField(
            model_name="chaintransaction",
            name="tenant",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="jobs.tenant",
            ),
        ),
        migrations.AddField(
            model_name="chaintransaction",
            name="workflow",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="transactions",
                to="jobs.workflow",
            ),
        ),
        migrations.AddField(
            model_name="chaintransaction",
            name="sha256_hash",
            field=models.CharField(
                default="", help_text="The digest that it has recorded, 64 hex digits.", max_length=64
            ),
            preserve_default=False,
        ),
        migrations.RunSQL(FILL, FORGET),
        migrations.AddIndex(
            model_name="chaintransaction",
            index=models.Index(fields=["sha256_hash", "tenant"], name="transaction_of_digest"),
        ),
        migrations.AddIndex(
            model_name="chaintransaction",
            index=models.Index(
                condition=models.Q(("workflow__isnull", False)),
                fields=["workflow"],
                name="transaction_of_workflow",
            ),
        ),
        migrations.AddConstraint(
            model_name="chaintransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("sha256_hash__regex", "^[0-9a-f]{64}$")),
                name="transaction_hash_is_sha256",
            ),
        ),
        migrations.AddConstraint(
            model_name="chaintransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("submission__isnull", False),
                        ("tenant__isnull", False),
                        ("workflow__isnull", True),
                    ),
                    models.Q(
                        ("submission__isnull", True),
                        ("tenant__isnull", False),
                        ("workflow__isnull", False),
                    ),
                    models.Q(
                        ("submission__isnull", True),
                        ("tenant__isnull", True),
                        ("workflow__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="transaction_of_one_purpose",
            ),
        ),
    ]
