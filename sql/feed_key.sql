-- The name of a tenant's feed in notifications: short, and keyed, so that listeners can neither read the tenant's
-- name nor confirm a guess of it.
create or replace function starcite.feed_key(p_tenant_id text) returns text
language sql stable parallel safe
return encode(substr(sha256(starcite.secret_key('lifecycle feeds') || convert_to(p_tenant_id, 'UTF8')), 1, 8), 'hex');
