"""The records as they began."""

from __future__ import annotations


import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.datetime
import jobs.ids
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Tenant',
            fields=[
                ('id', models.UUIDField(default=jobs.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('slug', models.CharField(max_length=63, unique=True, validators=[django.core.validators.RegexValidator('^[a-z0-9]([a-z0-9-]*[a-z0-9])?\\Z', 'Lowercase letters, digits, hyphens.')])),
                ('name', models.CharField(blank=True, max_length=200)),
                ('is_active', models.BooleanField(default=True, help_text="An inactive tenant's keys are refused.")),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'ordering': ['slug'],
            },
        ),
        migrations.CreateModel(
            name='Collection',
            fields=[
                ('id', models.UUIDField(default=jobs.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200)),
                ('steps', models.JSONField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='collections', to='jobs.tenant')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.CharField(editable=False, max_length=8, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100)),
                ('digest', models.CharField(editable=False, max_length=64)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('submit', 'Submit'), ('work', 'Work'), ('read', 'Read'), ('manage', 'Manage')], max_length=20), size=None)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='jobs.tenant')),
            ],
            options={
                'verbose_name': 'API key',
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='Worker',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('worker_id', models.CharField(max_length=200)),
                ('services', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=100), blank=True, default=list, size=None)),
                ('queue', models.CharField(blank=True, help_text='The queue an in-house process serves.', max_length=100)),
                ('first_seen_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('last_seen_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('tenant', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='workers', to='jobs.tenant')),
            ],
            options={
                'ordering': ['-last_seen_at'],
            },
        ),
        migrations.CreateModel(
            name='Workflow',
            fields=[
                ('is_cleanup_evaluated', models.BooleanField(default=False)),
                ('status_category', models.CharField(blank=True, choices=[('complete', 'Complete'), ('filed', 'Filed'), ('incomplete', 'Incomplete')], max_length=20)),
                ('problem_type', models.CharField(blank=True, choices=[('notification_failed', 'Notification Failed'), ('notification_missing', 'Notification Missing'), ('worker_failed', 'Worker Failed'), ('timed_out', 'Timed Out'), ('expired', 'Expired'), ('cancelled', 'Cancelled'), ('stuck', 'Stuck'), ('no_worker', 'No Worker'), ('missing_output', 'Missing Output'), ('attestation_missing', 'Attestation Missing'), ('content_type_mismatch', 'Content Type Mismatch')], max_length=40)),
                ('problem_details', models.JSONField(blank=True, null=True)),
                ('evaluated_at', models.DateTimeField(blank=True, null=True)),
                ('id', models.UUIDField(default=jobs.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('workflow_id', models.CharField(help_text="The client's own name of it, or ours.", max_length=200)),
                ('kind', models.CharField(choices=[('generation', 'Generation'), ('proof', 'Proof'), ('submission', 'Submission')], default='generation', max_length=20)),
                ('user_id', models.CharField(blank=True, max_length=200)),
                ('session_id', models.CharField(blank=True, max_length=200)),
                ('priority', models.PositiveSmallIntegerField(default=50)),
                ('miniapp_req', models.JSONField(blank=True, help_text="The user's request as it was accepted.", null=True)),
                ('data', models.JSONField(default=dict, help_text='What the workflow was started with; never overwritten.')),
                ('outputs', models.JSONField(blank=True, default=list, help_text="URLs in the last step's result.")),
                ('retry_execution_data', models.JSONField(blank=True, null=True)),
                ('last_retry_attempt', models.PositiveIntegerField(blank=True, null=True)),
                ('retry_completed_at', models.DateTimeField(blank=True, null=True)),
                ('status', models.CharField(choices=[('running', 'Running'), ('completed', 'Completed'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='running', max_length=20)),
                ('attempt', models.PositiveIntegerField(default=1, help_text='Runs begun: 1, and one more per retry.')),
                ('total_steps', models.PositiveSmallIntegerField()),
                ('error', models.JSONField(blank=True, null=True)),
                ('notification_status', models.CharField(choices=[('none', 'None'), ('owed', 'Owed'), ('delivered', 'Delivered'), ('told', 'Told'), ('failed', 'Failed')], default='none', max_length=20)),
                ('trace_id', models.CharField(max_length=32)),
                ('request_id', models.CharField(blank=True, max_length=128)),
                ('actor_id', models.CharField(blank=True, max_length=200)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('completed_at', models.DateTimeField(blank=True, null=True)),
                ('failed_at', models.DateTimeField(blank=True, null=True)),
                ('cancelled_at', models.DateTimeField(blank=True, null=True)),
                ('collection', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='workflows', to='jobs.collection')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='workflows', to='jobs.tenant')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Job',
            fields=[
                ('is_cleanup_evaluated', models.BooleanField(default=False)),
                ('status_category', models.CharField(blank=True, choices=[('complete', 'Complete'), ('filed', 'Filed'), ('incomplete', 'Incomplete')], max_length=20)),
                ('problem_type', models.CharField(blank=True, choices=[('notification_failed', 'Notification Failed'), ('notification_missing', 'Notification Missing'), ('worker_failed', 'Worker Failed'), ('timed_out', 'Timed Out'), ('expired', 'Expired'), ('cancelled', 'Cancelled'), ('stuck', 'Stuck'), ('no_worker', 'No Worker'), ('missing_output', 'Missing Output'), ('attestation_missing', 'Attestation Missing'), ('content_type_mismatch', 'Content Type Mismatch')], max_length=40)),
                ('problem_details', models.JSONField(blank=True, null=True)),
                ('evaluated_at', models.DateTimeField(blank=True, null=True)),
                ('id', models.UUIDField(default=jobs.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(blank=True, help_text='The handler that runs it in-house.', max_length=100)),
                ('service_required', models.CharField(blank=True, help_text='What a remote worker offers.', max_length=100)),
                ('queue', models.CharField(max_length=100)),
                ('payload', models.JSONField(blank=True, default=dict)),
                ('original_payload', models.JSONField(blank=True, help_text='Kept when an operator edits it.', null=True)),
                ('ctx', models.JSONField(blank=True, default=dict)),
                ('priority', models.PositiveSmallIntegerField(default=50, help_text='0–100, the higher the sooner.')),
                ('singleton_key', models.CharField(blank=True, max_length=200)),
                ('status', models.CharField(choices=[('waiting', 'Waiting'), ('queued', 'Queued'), ('running', 'Running'), ('completed', 'Completed'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='queued', max_length=20)),
                ('attempt', models.PositiveIntegerField(default=0, help_text='Attempts begun.')),
                ('max_attempts', models.PositiveIntegerField(default=3)),
                ('run_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('timeout_seconds', models.PositiveIntegerField(default=300)),
                ('batch_size', models.PositiveSmallIntegerField(default=1)),
                ('lease_token', models.UUIDField(blank=True, null=True)),
                ('lease_expires_at', models.DateTimeField(blank=True, null=True)),
                ('worker', models.CharField(blank=True, help_text='Who holds or held the last attempt.', max_length=200)),
                ('started_at', models.DateTimeField(blank=True, help_text='When the last attempt began.', null=True)),
                ('cancel_requested_at', models.DateTimeField(blank=True, null=True)),
                ('progress', models.PositiveSmallIntegerField(default=0, help_text='Percent.')),
                ('result', models.JSONField(blank=True, null=True)),
                ('error', models.JSONField(blank=True, help_text="The last attempt's {code, message, traceback}.", null=True)),
                ('trace_id', models.CharField(max_length=32)),
                ('request_id', models.CharField(blank=True, max_length=128)),
                ('actor_id', models.CharField(blank=True, max_length=200)),
                ('step_index', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('step_name', models.CharField(blank=True, max_length=100)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('completed_at', models.DateTimeField(blank=True, null=True)),
                ('failed_at', models.DateTimeField(blank=True, null=True)),
                ('cancelled_at', models.DateTimeField(blank=True, null=True)),
                ('tenant', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='jobs', to='jobs.tenant')),
                ('workflow', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='jobs', to='jobs.workflow')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('type', models.CharField(choices=[('progress', 'Progress'), ('log', 'Log'), ('cancel_requested', 'Cancel Requested'), ('cancelled', 'Cancelled'), ('retried', 'Retried')], max_length=40)),
                ('data', models.JSONField(default=dict)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('job', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='jobs.job')),
                ('tenant', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, to='jobs.tenant')),
                ('workflow', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='events', to='jobs.workflow')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.AddConstraint(
            model_name='collection',
            constraint=models.UniqueConstraint(fields=('tenant', 'name'), name='collection_name_per_tenant'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('scopes__contained_by', ['submit', 'work', 'read', 'manage']), models.Q(('scopes', []), _negated=True)), name='api_key_scopes_known'),
        ),
        migrations.AddConstraint(
            model_name='worker',
            constraint=models.UniqueConstraint(django.db.models.functions.comparison.Coalesce('tenant', models.Value(uuid.UUID('00000000-0000-0000-0000-000000000000'), output_field=models.UUIDField())), models.F('worker_id'), name='worker_id_per_tenant'),
        ),
        migrations.AddIndex(
            model_name='workflow',
            index=models.Index(fields=['tenant', '-id'], name='workflow_tenant_newest'),
        ),
        migrations.AddConstraint(
            model_name='workflow',
            constraint=models.UniqueConstraint(fields=('tenant', 'workflow_id'), name='workflow_id_per_tenant'),
        ),
        migrations.AddConstraint(
            model_name='workflow',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['running', 'completed', 'failed', 'cancelled'])), name='workflow_status_known'),
        ),
        migrations.AddConstraint(
            model_name='workflow',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('cancelled_at__isnull', True), ('completed_at__isnull', False), ('failed_at__isnull', True), ('status', 'completed')), models.Q(('cancelled_at__isnull', True), ('completed_at__isnull', True), ('failed_at__isnull', False), ('status', 'failed')), models.Q(('cancelled_at__isnull', False), ('completed_at__isnull', True), ('failed_at__isnull', True), ('status', 'cancelled')), models.Q(('cancelled_at__isnull', True), ('completed_at__isnull', True), ('failed_at__isnull', True), ('status', 'running')), _connector='OR'), name='workflow_final_state_timed'),
        ),
        migrations.AddConstraint(
            model_name='workflow',
            constraint=models.CheckConstraint(condition=models.Q(('attempt__gte', 1), ('priority__lte', 100), ('total_steps__gte', 1), ('total_steps__lte', 100)), name='workflow_numbers_bounded'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('queue'), models.OrderBy(models.F('priority'), descending=True), models.F('run_at'), models.F('id'), condition=models.Q(('service_required', ''), ('status', 'queued')), name='job_due_in_house'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('tenant'), models.F('service_required'), models.OrderBy(models.F('priority'), descending=True), models.F('run_at'), models.F('id'), condition=models.Q(('status', 'queued'), models.Q(('service_required', ''), _negated=True)), name='job_due_remote'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('status', 'running')), fields=['lease_expires_at'], name='job_leased'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('expires_at__isnull', False), ('status__in', ['waiting', 'queued'])), fields=['expires_at'], name='job_expiring'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(fields=['tenant', '-id'], name='job_tenant_newest'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.UniqueConstraint(condition=models.Q(('workflow__isnull', False)), fields=('workflow', 'step_index'), name='job_step_of_workflow'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.UniqueConstraint(django.db.models.functions.comparison.Coalesce('tenant', models.Value(uuid.UUID('00000000-0000-0000-0000-000000000000'), output_field=models.UUIDField())), models.F('kind'), models.F('service_required'), models.F('singleton_key'), condition=models.Q(('status__in', ['waiting', 'queued', 'running']), models.Q(('singleton_key', ''), _negated=True)), name='job_singleton'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['waiting', 'queued', 'running', 'completed', 'failed', 'cancelled'])), name='job_status_known'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', ''), ('tenant__isnull', False)), ('service_required', ''), _connector='XOR'), name='job_in_house_or_remote'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('attempt__gte', 1), ('lease_expires_at__isnull', False), ('lease_token__isnull', False), ('started_at__isnull', False), ('status', 'running')), models.Q(models.Q(('status', 'running'), _negated=True), ('lease_token__isnull', True)), _connector='OR'), name='job_lease_while_running'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'completed'), ('completed_at__isnull', True), _connector='XOR'), models.Q(('status', 'failed'), ('failed_at__isnull', True), _connector='XOR'), models.Q(('status', 'cancelled'), ('cancelled_at__isnull', True), _connector='XOR')), name='job_final_state_timed'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'waiting'), _negated=True), ('workflow__isnull', False), _connector='OR'), name='job_waits_in_workflow'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('attempt__lte', models.F('max_attempts')), ('batch_size__gte', 1), ('max_attempts__gte', 1), ('priority__lte', 100), ('progress__lte', 100), ('timeout_seconds__gte', 1)), name='job_numbers_bounded'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(condition=models.Q(('job__isnull', False)), fields=['job', 'id'], name='event_of_job'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(condition=models.Q(('workflow__isnull', False)), fields=['workflow', 'id'], name='event_of_workflow'),
        ),
    ]
