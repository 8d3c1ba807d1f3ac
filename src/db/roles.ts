import type { ClientBase } from 'pg'

/**
 * Roles that stand for duties; people and programs log in as members of them. They belong to the server, not to one
 * database, so several databases, and several programs that start at once, meet here.
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
      null;  -- somebody else has just made it
    end;
  end loop;
end
$$`

/** Makes the roles that are missing, if this connection may. */
export async function ensureRoles(client: ClientBase): Promise<void> {
  const { rows } = await client.query<{ may: boolean }>(
    `select r.rolsuper or r.rolcreaterole as may from pg_catalog.pg_roles r where r.rolname = current_user`,
  )
  if (rows[0]?.may) await client.query(CREATE_ROLES)
}

/**
 * Makes the schema, if it is not there, and acts as its owner from here on: starcite_owner where that can be, so that
 * nothing in it, security definer functions above all, runs with the rights of whoever happened to migrate. Answers
 * false when this connection is not, and is no member of, the owner.
 */
export async function becomeOwner(client: ClientBase): Promise<boolean> {
  const find = async () =>
    (
      await client.query<{ owner: string; is_member: boolean }>(
        `select n.nspowner::regrole::text as owner, pg_has_role(current_user, n.nspowner, 'usage') as is_member
           from pg_catalog.pg_namespace n where n.nspname = 'starcite'`,
      )
    ).rows[0]
  let schema = await find()
  if (schema === undefined) {
    const { rows } = await client.query<{ is_member: boolean }>(
      `select pg_has_role(current_user, r.oid, 'usage') as is_member
         from pg_catalog.pg_roles r where r.rolname = 'starcite_owner'`,
    )
    await client.query(`create schema starcite ${rows[0]?.is_member ? 'authorization starcite_owner' : ''}`)
    schema = await find()
  }
  if (!schema?.is_member) return false
  await client.query(`set role ${schema.owner}`)
  return true
}

const GRANT_NEW_ROLES = `
select starcite.grant_roles()
 where exists (select from pg_catalog.pg_roles r
                where r.rolname in ('starcite_app', 'starcite_auditor')
                  and not has_schema_privilege(r.oid, 'starcite', 'usage'))`

/** Roles that were made after the schema have nothing yet. */
export async function grantNewRoles(client: ClientBase): Promise<void> {
  await client.query(GRANT_NEW_ROLES)
}
