//! What an operator does about each refusal of a Redis, as sentences that name the setting. It owns the list of rights
//! that the lock needs, which the pages and the sample of users repeat; it decides nothing.

use rustls::{CertificateError, Error as Tls};

/// What the lock's user may do: nothing of it is more than the lock uses.
macro_rules! rights {
    () => {
        "+get +set +del +pttl +pexpire +watch +unwatch +multi +exec +publish +subscribe +ping +select +role +asking +cluster|slots"
    };
}

/// What `campanile doctor` asks beside it.
macro_rules! rights_of_doctor {
    () => {
        "+info +time +config|get +cluster|info"
    };
}

pub(super) const WRONG_LOGIN: &str = "put the right user and password into the setting `lock`, as in redis://USER:PASSWORD@HOST:PORT (redis://:PASSWORD@HOST:PORT for the default user; the sentinels' own are ?sentinel_username= and ?sentinel_password=)";

pub(super) const NO_REDIS: &str = "let the setting `lock` name a port of Redis, and begin it with rediss:// (rediss+sentinel://, rediss+cluster://) where that port wants TLS";

const NO_COMMAND: &str = concat!(
    "allow the user of the setting `lock` what the lock needs: ACL SETUSER NAME ",
    rights!(),
    " (and for `campanile doctor` ",
    rights_of_doctor!(),
    "); a sentinel's own user needs +sentinel|get-master-addr-by-name +subscribe +ping &+switch-master"
);

const NO_KEY: &str = "allow the user of the setting `lock` the lock's key: ACL SETUSER NAME ~{campanile:CLUSTER}:*, where CLUSTER is what the setting `cluster` says (`campanile` where it says nothing)";

const NO_CHANNEL: &str = "allow the user of the setting `lock` the channel of hints: ACL SETUSER NAME &{campanile:CLUSTER}:*, where CLUSTER is what the setting `cluster` says (`campanile` where it says nothing); a sentinel's own user needs &+switch-master";

/// What to do about an answer that begins with `code`.
pub(super) fn of(code: &str, details: &str) -> &'static str {
    match code {
        "READONLY" => {
            "this server is a replica: let the setting `lock` name its master, or the group as redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
        }
        "NOAUTH" | "WRONGPASS" => WRONG_LOGIN,
        "NOPERM" if details.contains("channel") => NO_CHANNEL,
        "NOPERM" if details.contains("key") => NO_KEY,
        "NOPERM" => NO_COMMAND,
        "WRONGTYPE" => {
            "something that is not a lock is stored under the lock's key: delete the key that starts with {campanile:, or give this cluster another name"
        }
        "OOM" => "its memory is full: raise `maxmemory` or move other data elsewhere",
        "NOREPLICAS" => {
            "fewer replicas are connected than its `min-replicas-to-write` demands: bring them back"
        }
        "MISCONF" => "it can't write its snapshots: look at its log and its disk",
        "MOVED" | "ASK" => {
            "it is a node of a Redis Cluster: begin the setting `lock` with redis+cluster:// (or rediss+cluster:// for TLS) and name several of its nodes"
        }
        "ERR" if details.contains("cluster support disabled") => {
            "it is no node of a Redis Cluster: begin the setting `lock` with redis:// (rediss:// for TLS), or with redis+sentinel:// and end it in the service's name"
        }
        "ERR" if details.contains("SELECT is not allowed") => {
            "a Redis Cluster has one database: begin the setting `lock` with redis+cluster:// and name no database"
        }
        "ERR" if details.contains("DB index") => {
            "this Redis has no database of that number: name another in the setting `lock`"
        }
        "ERR" if details.contains("unknown command") => {
            "let the setting `lock` name a Redis: redis+sentinel://HOST:PORT,HOST:PORT/SERVICE where this is a sentinel, redis://HOST:PORT where it is none"
        }
        _ => "look at this server's log and settings",
    }
}

/// What is wrong with a TLS connection, and what to do.
pub(super) fn of_tls(error: &Tls) -> (String, &'static str) {
    const NAME: &str = "let the setting name the server as its certificate does, or have it certified for that name; in a cluster it is the name that the nodes announce (`cluster-announce-hostname` with `cluster-preferred-endpoint-type hostname`)";
    const ISSUER: &str = "name the PEM file of the authority that signed it as ?ca=FILE";
    const TIME: &str = "give the server a certificate that is valid now (`tls-cert-file`), and look at this machine's clock";
    let Tls::InvalidCertificate(wrong) = error else {
        return (
            format!("TLS fails ({error})"),
            "name the server's `tls-port`, or begin with redis:// (redis+sentinel://, redis+cluster://) where it has no TLS",
        );
    };
    let remedy = match wrong {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => NAME,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TIME,
        _ => ISSUER,
    };
    (format!("its certificate is refused ({wrong})"), remedy)
}

#[cfg(test)]
mod tests {
    /// What the sample gives the lock's user beside the key and the channel.
    #[test]
    fn the_sample_of_users_has_the_rights_that_are_named_here() {
        let sample = include_str!("../../../../deploy/redis/users.acl");
        let line = sample
            .lines()
            .find(|line| line.starts_with("user campanile "));
        let sample = line
            .unwrap()
            .split(' ')
            .filter(|word| word.starts_with('+'));
        let named = concat!(rights!(), " ", rights_of_doctor!());
        assert!(sample.eq(named.split(' ')), "deploy/redis/users.acl");
    }
}
