-- What an event adds to its session's chain in either form (starcite.chained_hash): everything of it that remains
-- when its content is erased. Null when the digest does not have 32 bytes, and for an event of form 1 with a subject,
-- which that form does not cover.
create or replace function starcite.chain_link(
  p_chain_version int, p_seq bigint, p_inserted_at timestamptz, p_type text, p_actor text, p_source text,
  p_producer_id text, p_producer_seq bigint, p_idempotency_key text, p_subject text, p_content_digest bytea)
returns bytea
language sql stable parallel safe
return case when octet_length(p_content_digest) = 32 then
  case
    when p_chain_version = 1 and p_subject is null
      then starcite.event_link(p_seq, p_inserted_at, p_type, p_actor, p_source, p_producer_id, p_producer_seq,
                               p_idempotency_key, p_content_digest)
    when p_chain_version = 2
      then bytea '32:'
           || starcite.event_link(p_seq, p_inserted_at, p_type, p_actor, p_source, p_producer_id, p_producer_seq,
                                  p_idempotency_key, p_content_digest)
           || convert_to(starcite.framed(p_subject), 'UTF8')
  end end;
