"""The records as they began."""

from __future__ import annotations


import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('jobs', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Attestation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('attestation_key', models.CharField(max_length=260)),
                ('attestation_type', models.CharField(choices=[('worker_completion', 'Worker Completion'), ('worker_failure', 'Worker Failure'), ('workflow_completion', 'Workflow Completion'), ('workflow_failure', 'Workflow Failure')], max_length=30)),
                ('entity_type', models.CharField(choices=[('job', 'Job'), ('workflow', 'Workflow')], max_length=10)),
                ('workflow_key', models.CharField(blank=True, help_text="The client's own name of the workflow.", max_length=200)),
                ('worker_id', models.CharField(blank=True, max_length=200)),
                ('status', models.CharField(choices=[('completed', 'Completed'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], max_length=10)),
                ('retry_attempt', models.PositiveIntegerField(default=0, help_text='Earlier attempts.')),
                ('attestation_data', models.JSONField()),
                ('digest', models.CharField(help_text='SHA-256 of the canonical JSON, hex.', max_length=64)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('expires_at', models.DateTimeField()),
                ('job', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='attestations', to='jobs.job')),
                ('tenant', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, to='jobs.tenant')),
                ('workflow', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='attestations', to='jobs.workflow')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(condition=models.Q(('workflow__isnull', False)), fields=['workflow', 'id'], name='attestation_of_workflow'), models.Index(fields=['expires_at'], name='attestation_expiry')],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'attestation_key'), name='attestation_key_per_tenant'), models.CheckConstraint(condition=models.Q(('attestation_type__in', ['worker_completion', 'worker_failure', 'workflow_completion', 'workflow_failure']), ('entity_type__in', ['job', 'workflow']), ('status__in', ['completed', 'failed', 'cancelled'])), name='attestation_words_known')],
            },
        ),
    ]
