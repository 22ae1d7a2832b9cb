-- Run for every request of the API: the key of this id with its tenant.
SELECT k.id, k.name, k.digest, k.scopes, k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.tenant_id,
       t.slug, t.name AS tenant_name, t.is_active, t.created_at AS tenant_created_at
  FROM jobs_apikey k
  JOIN jobs_tenant t ON t.id = k.tenant_id
 WHERE k.id = %(id)s
