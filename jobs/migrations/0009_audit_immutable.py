"""The database itself refuses to change what the audit log says."""

from __future__ import annotations

from django.db import migrations

FORWARD = """
CREATE FUNCTION jobs_refuse_audit_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an entry of the audit log is never changed (%)', OLD.id
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER audit_is_immutable BEFORE UPDATE ON jobs_auditentry
    FOR EACH ROW EXECUTE FUNCTION jobs_refuse_audit_update();
"""

BACKWARD = """
DROP TRIGGER audit_is_immutable ON jobs_auditentry;
DROP FUNCTION jobs_refuse_audit_update();
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0008_monitor")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
