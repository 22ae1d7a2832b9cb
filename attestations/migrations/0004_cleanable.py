"""An attestation may lose its base64 and nothing else, and only to who says so in the transaction."""

from __future__ import annotations

from django.db import migrations

FORWARD = """
CREATE OR REPLACE FUNCTION attestations_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('affidavit.is_cleaning', true) = 'on'
       AND to_jsonb(NEW) - '{attestation_data,digest,original_digest}'::text[]
         = to_jsonb(OLD) - '{attestation_data,digest,original_digest}'::text[]
       AND NEW.original_digest <> '' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'an attestation is never changed (%)', OLD.attestation_key
        USING ERRCODE = 'restrict_violation';
END
$$;
"""

BACKWARD = """
CREATE OR REPLACE FUNCTION attestations_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an attestation is never changed (%)', OLD.attestation_key
        USING ERRCODE = 'restrict_violation';
END
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("attestations", "0003_started_at")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
