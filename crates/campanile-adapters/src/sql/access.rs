//! Access: API tokens, of which the digest alone is kept.

use async_trait::async_trait;
use campanile_access::audit::Deed;
use campanile_access::token::{ApiToken, TOKENS_MAX};
use campanile_access::{Rights, Scope};
use campanile_core::actor::Actor;
use campanile_core::port::Written;
use campanile_core::port::access::AccessStore;
use campanile_core::port::store::Error;
use campanile_schedule::time::Timestamp;

use crate::sql::mariadb::steps;
use crate::sql::pen::Record;
use crate::sql::points::ACCESS;
use crate::sql::publish::cap;
use crate::sql::rows::{from_json, to_json};
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::Row;

const TABLE: &str = "campanile_token";

/// A token, in the place of one of its name that lets nobody in any more.
static PUT: Statement = Statement::new(
    "INSERT INTO campanile_token (name, digest, role, data, scope, created_at, created_by, expires_at)
     VALUES (:name, :digest, :role, :data, :scope, :created_at, :created_by, NULLIF(:expires_at, 0))
     ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, role = excluded.role, data = excluded.data,
     scope = excluded.scope, created_at = excluded.created_at, created_by = excluded.created_by,
     expires_at = excluded.expires_at, used_at = NULL, revoked_at = NULL
     WHERE campanile_token.revoked_at IS NOT NULL OR campanile_token.expires_at <= :at",
)
.on_mariadb(steps::PUT_TOKEN);

/// Lets a token in no more.
static REVOKE: Statement = Statement::new(
    "UPDATE campanile_token SET revoked_at = :at WHERE name = :name AND revoked_at IS NULL",
);

/// All tokens.
static ALL: Statement = Statement::new(
    "SELECT name, role, data, scope, created_at, created_by, expires_at, used_at, revoked_at FROM campanile_token
     ORDER BY name LIMIT :limit",
);

/// The token of a digest.
static OF_DIGEST: Statement = Statement::new(
    "SELECT name, role, data, scope, created_at, created_by, expires_at, used_at, revoked_at FROM campanile_token
     WHERE digest = :digest",
);

/// A token was used.
static USED: Statement = Statement::new(
    "UPDATE campanile_token SET used_at = :at WHERE name = :name AND (used_at IS NULL OR used_at < :at)",
);

#[async_trait]
impl AccessStore for Store {
    async fn put_token(
        &self,
        actor: &Actor,
        token: &ApiToken,
        digest: &str,
        at: Timestamp,
    ) -> Result<Written, Error> {
        let scope = to_json(&token.rights.scope().texts())?;
        let args = [
            ("name", token.name.as_str().into()),
            ("digest", digest.into()),
            ("role", token.rights.role().as_str().into()),
            ("data", i64::from(token.rights.data()).into()),
            ("scope", scope.as_str().into()),
            ("created_at", token.created_at.as_ms().into()),
            ("created_by", token.created_by.as_str().into()),
            (
                "expires_at",
                token.expires_at.map_or(0, Timestamp::as_ms).into(),
            ),
            ("at", at.as_ms().into()),
        ];
        let record = Record::act(actor, || Deed::new("token.create", "token", &token.name));
        self.one_of(&ACCESS, &record, &PUT, &args).await
    }

    async fn revoke_token(
        &self,
        actor: &Actor,
        name: &str,
        at: Timestamp,
    ) -> Result<Written, Error> {
        let args = [("name", name.into()), ("at", at.as_ms().into())];
        let record = Record::act(actor, || Deed::new("token.revoke", "token", name));
        self.one_of(&ACCESS, &record, &REVOKE, &args).await
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, Error> {
        let args = [("limit", cap(TOKENS_MAX))];
        let rows = self.pools.reader.rows(&ALL, &args).await?;
        rows.into_iter().map(token_of).collect()
    }

    async fn token_of(&self, digest: &str) -> Result<Option<ApiToken>, Error> {
        let args = [("digest", digest.into())];
        let rows = self.pools.reader.rows(&OF_DIGEST, &args).await?;
        rows.into_iter().next().map(token_of).transpose()
    }

    async fn use_token(&self, name: &str, at: Timestamp) -> Result<(), Error> {
        let args = [("name", name.into()), ("at", at.as_ms().into())];
        self.pools.main.write(&USED, &args).await?;
        Ok(())
    }
}

fn token_of(mut row: Row) -> Result<ApiToken, Error> {
    let name = row.text(TABLE)?;
    let corrupt = |message: String| Error::Corrupt {
        table: TABLE,
        row: None,
        message,
    };
    let role = row.text(TABLE)?.parse().map_err(corrupt)?;
    let data = row.int(TABLE)? != 0;
    let scope: Scope = from_json(&row.text(TABLE)?, TABLE)?;
    let opt = |row: &mut Row| Ok::<_, Error>(row.opt_int(TABLE)?.map(Timestamp::from_ms));
    Ok(ApiToken {
        name,
        rights: Rights::of(role).with_data(data).within(scope),
        created_at: Timestamp::from_ms(row.int(TABLE)?),
        created_by: row.text(TABLE)?,
        expires_at: opt(&mut row)?,
        used_at: opt(&mut row)?,
        revoked_at: opt(&mut row)?,
    })
}
