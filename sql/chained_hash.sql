-- The hash of an event, from the previous hash and what the event adds (starcite.chain_link), in either form of the
-- chain. Null for a form that this release does not know, and when the previous hash does not have 32 bytes.
--   1  sha256(previous || link)
--   2  sha256('36:starcite hash chain event, version 2' || '32:' || previous || link): every part is preceded by its
--      length, so no byte can be read as part of its neighbour; and the first 32 bytes are fixed text, where form 1
--      has a hash, so no input of one form can be read as input of the other
create or replace function starcite.chained_hash(p_chain_version int, p_previous bytea, p_link bytea) returns bytea
language sql immutable parallel safe
return case when octet_length(p_previous) = 32 then
  case p_chain_version
    when 1 then sha256(p_previous || p_link)
    when 2 then sha256(bytea '36:starcite hash chain event, version 2' || bytea '32:' || p_previous || p_link)
  end end;
