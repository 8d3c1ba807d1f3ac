import type { ClientBase } from 'pg'

/**
 * Roles that stand for duties; people and programs log in as members of them. They belong to the server, not to one
 * database, so several databases, and several programs that start at once, share them.
 */
const CREATE_ROLES = `
do $$
declare
  v_role text;
begin
  foreach v_role in array array['starcite_owner', 'starcite_app', 'starcite_tiering', 'starcite_auditor'] loop
    begin
      if to_regrole(v_role) is null then
        execute format('create role %I nologin', v_role);
        if v_role = 'starcite_owner' and not (select r.rolsuper from pg_roles r where r.rolname = current_user) then
          execute format('grant starcite_owner to %I', current_user);
        elsif v_role = 'starcite_tiering' then
          grant starcite_owner to starcite_tiering;
        end if;
      end if;
    exception when duplicate_object or unique_violation then
      null;  -- another program has just created it
    end;
  end loop;
end
$$`

/** Creates the roles that are missing, if this connection may. */
export async function ensureRoles(client: ClientBase): Promise<void> {
  const { rows } = await client.query<{ may: boolean }>(
    `select r.rolsuper or r.rolcreaterole as may from pg_catalog.pg_roles r where r.rolname = current_user`,
  )
  if (rows[0]?.may) await client.query(CREATE_ROLES)
}

/** The schema audit exists, and its owner is not the one of the schema starcite. */
export class ForeignSchemaError extends Error {
  override readonly name = 'ForeignSchemaError'
}

interface Schema {
  readonly name: string
  readonly owner: string
  readonly is_member: boolean
}

/**
 * Creates the schemas starcite and audit if they do not exist, and acts as their owner until the transaction ends.
 * The owner is starcite_owner where that is possible, so that nothing in them, above all security definer functions,
 * runs with the rights of the login that migrated. Returns false when this connection is not, and is no member of,
 * the owner. Rejects with a ForeignSchemaError when another role owns a schema named audit.
 */
export async function becomeOwner(client: ClientBase): Promise<boolean> {
  const starcite = (await findSchema(client, 'starcite')) ?? (await createSchema(client))
  if (!starcite?.is_member) return false
  const audit = await findSchema(client, 'audit')
  if (audit && audit.owner !== starcite.owner)
    throw new ForeignSchemaError(
      `this database has a schema named audit, which belongs to ${audit.owner}; Starcite keeps its views for auditors ` +
        'under that name: rename the other, or give Starcite a database of its own',
    )
  // Before the role changes: the owner may have no right to create schemas in the database.
  if (!audit) await client.query(`create schema audit authorization ${starcite.owner}`)
  await client.query(`set local role ${starcite.owner}`)
  return true
}

async function findSchema(client: ClientBase, name: string): Promise<Schema | undefined> {
  const { rows } = await client.query<Schema>(
    `select n.nspname as name, n.nspowner::regrole::text as owner, pg_has_role(current_user, n.nspowner, 'usage') as is_member
       from pg_catalog.pg_namespace n where n.nspname = $1`,
    [name],
  )
  return rows[0]
}

async function createSchema(client: ClientBase): Promise<Schema | undefined> {
  const { rows } = await client.query<{ is_member: boolean }>(
    `select pg_has_role(current_user, r.oid, 'usage') as is_member
       from pg_catalog.pg_roles r where r.rolname = 'starcite_owner'`,
  )
  await client.query(`create schema starcite ${rows[0]?.is_member ? 'authorization starcite_owner' : ''}`)
  return findSchema(client, 'starcite')
}

const GRANTS = `
select md5(string_agg(g.line, ' ' order by g.line collate "C")) as grants
  from (select concat_ws(' ', c.oid, c.relacl, a.attnum, a.attacl) as line
          from pg_catalog.pg_class c
          left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attacl is not null
         where c.relnamespace in (to_regnamespace('starcite'), to_regnamespace('audit')) and c.relkind in ('r', 'p', 'v')
         union all
        select concat_ws(' ', p.oid, (select string_agg(i::text, ',' order by i::text collate "C")
                                      from unnest(coalesce(p.proacl, acldefault('f', p.proowner))) as i))
          from pg_catalog.pg_proc p
         where p.pronamespace in (to_regnamespace('starcite'), to_regnamespace('audit'))
         union all
        select concat_ws(' ', n.oid, n.nspacl) from pg_catalog.pg_namespace n where n.nspname in ('starcite', 'audit')
         union all
        select concat_ws(' ', p.polrelid, p.polname) from pg_catalog.pg_policy p) g`

/** Their OIDs remain where they were granted tenants (sql/forget_dropped_roles.sql). */
const FORGET_DROPPED_ROLES = `
delete from starcite.tenant_grants g where not exists (select from pg_catalog.pg_roles r where r.oid = g.grantee)`

/**
 * Grants the roles the privileges that they lack: roles that were created after the schema, and privileges that were
 * revoked or not restored. Writes nothing where nothing is missing. Runs in the caller's transaction; returns whether
 * it granted anything.
 */
export async function restoreGrants(client: ClientBase): Promise<boolean> {
  const grants = async () => (await client.query<{ grants: string }>(GRANTS)).rows[0]?.grants
  await client.query('savepoint grants')
  const before = await grants()
  await client.query('select starcite.grant_roles()')
  const isMended = (await grants()) !== before
  if (!isMended) await client.query('rollback to savepoint grants')
  await client.query('release savepoint grants')
  await client.query(FORGET_DROPPED_ROLES)
  return isMended
}
