-- What notifications call the feed of a tenant: short, and without telling who listens the tenant's name.
create or replace function starcite.feed_key(p_tenant_id text) returns text
language sql immutable parallel safe
return encode(substr(sha256(convert_to(p_tenant_id, 'UTF8')), 1, 8), 'hex');
