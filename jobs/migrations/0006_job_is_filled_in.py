from django.db import migrations, models

# A step that is queued has had its turn; of one that was begun its attempts say so.
NOTE_QUEUED_STEPS = """
UPDATE jobs_job SET is_filled_in = true WHERE status = 'queued' AND step_index > 0
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0005_evaluation")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="is_filled_in",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.RunSQL(NOTE_QUEUED_STEPS, migrations.RunSQL.noop),
    ]
