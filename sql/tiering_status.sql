-- How far behind tiering is: one row. A segment is due when its end is older than the hot retention.
create or replace view starcite.tiering_status as
select coalesce(sum(case when g.state in ('hot', 'closed') and d.is_due
                         then greatest(pg_stat_get_live_tuples(to_regclass(format('starcite.%I', g.name))), 0)
                    end), 0)::bigint as pending_events,
       coalesce(max(case when g.state in ('hot', 'closed') and d.is_due
                         then clock_timestamp() - g.to_at - r.retention
                    end), interval '0') as lag,
       count(*) filter (where g.state = 'hot') as hot_segments,
       count(*) filter (where g.state = 'closed') as closed_segments,
       count(*) filter (where g.state = 'moved') as moved_segments,
       (select coalesce(sum(o.events), 0) from starcite.objects o) as copied_events,
       (select coalesce(sum(o.bytes), 0) from starcite.objects o) as object_bytes,
       (select count(*) from starcite.objects o) as objects,
       max(g.moved_at) as last_moved_at,
       (select count(*) from starcite.set_aside a where a.ended_at is null) as set_aside_sessions,
       count(*) filter (where g.kept_events is not null) as kept_segments
  from (select s.value::interval as retention from starcite.settings s where s.name = 'hot_retention') r
  left join starcite.segments g on true
  left join lateral (select g.to_at <= clock_timestamp() - r.retention as is_due) d on true;

comment on view starcite.tiering_status is 'How far behind the moving of segments out of the hot tables is.';
comment on column starcite.tiering_status.pending_events is 'Events of due segments that are not yet moved, as Postgres estimates them.';
comment on column starcite.tiering_status.lag is 'How long ago the oldest of those segments became due.';
comment on column starcite.tiering_status.hot_segments is 'Segments in Postgres.';
comment on column starcite.tiering_status.closed_segments is 'Segments that are being copied.';
comment on column starcite.tiering_status.moved_segments is 'Segments whose empty partition is still to be dropped.';
comment on column starcite.tiering_status.copied_events is 'Events of all objects, those in the making included.';
comment on column starcite.tiering_status.objects is 'How many objects, those in the making included.';
comment on column starcite.tiering_status.last_moved_at is 'When a segment was moved last; null when none was.';
comment on column starcite.tiering_status.object_bytes is 'Bytes of all objects, those in the making included.';
comment on column starcite.tiering_status.set_aside_sessions is 'Sessions that are not moved because their log is damaged (audit.set_aside).';
comment on column starcite.tiering_status.kept_segments is 'Segments whose partition stays because of events of such sessions.';
