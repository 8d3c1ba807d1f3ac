-- Which interface the views of this schema are. It never changes incompatibly: columns keep name, order, type and meaning,
-- and new ones come at the end, with a higher number here.
create or replace view audit.version as
select 2 as version,
       (select o.release
          from starcite.installed_objects o
         order by o.number desc, string_to_array(split_part(o.release, '-', 1), '.')::int[] desc, o.release desc
         limit 1) as release;

comment on view audit.version is 'Which interface the views of this schema are.';
comment on column audit.version.version is 'Grows when columns or views are added, nothing else ever changes.';
comment on column audit.version.release is 'The newest release of Starcite that has installed functions and views here.';
