"""The database itself refuses to change an attestation."""

from __future__ import annotations

from django.db import migrations

FORWARD = """
CREATE FUNCTION attestations_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an attestation is never changed (%)', OLD.attestation_key
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER attestation_is_immutable BEFORE UPDATE ON attestations_attestation
    FOR EACH ROW EXECUTE FUNCTION attestations_refuse_update();
"""

BACKWARD = """
DROP TRIGGER attestation_is_immutable ON attestations_attestation;
DROP FUNCTION attestations_refuse_update();
"""


class Migration(migrations.Migration):
    dependencies = [("attestations", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
