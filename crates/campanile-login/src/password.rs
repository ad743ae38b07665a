//! Passwords: of which only a hash is kept (argon2id), and whose checking costs the same whoever asks. Owns the
//! parameters, the threads, and how many are computed at once: each takes 32 MiB for as long as it lasts.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use campanile_core::system::Random;
use tokio::sync::Semaphore;

/// Memory of one hash, in KiB. OWASP's least for argon2id with two passes is 19 MiB.
pub const MEMORY_KIB: u32 = 32 * 1024;
/// Passes over it.
pub const PASSES: u32 = 3;
/// Hashes that are computed at once: the rest waits.
pub const AT_ONCE: usize = 2;
/// How many may wait.
const WAITING_MAX: usize = 32;
/// The longest password that is hashed.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// What is compared with where there is no such user, so that it takes as long. It is nobody's.
const NOBODYS: &str = "$argon2id$v=19$m=32768,t=3,p=1$Y2FtcGFuaWxlLW5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("too many passwords are being checked here: try again in a moment")]
    Busy,
    #[error("the password could not be hashed: {0}")]
    Failed(String),
}

/// Hashes and compares passwords, a few at a time, beside the threads that serve. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Passwords {
    seats: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            seats: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Arc::new(Semaphore::new(AT_ONCE + WAITING_MAX)),
        }
    }
}

impl Passwords {
    /// What is kept of a password: a text with its parameters and salt (PHC).
    ///
    /// # Errors
    /// Too many wait.
    pub async fn hash(&self, password: String, random: &Random) -> Result<String, Error> {
        let salt: [u8; 16] = std::array::from_fn({
            let secret = random.secret();
            move |at| secret[at]
        });
        self.beside(move || hash_now(&password, &salt)).await?
    }

    /// Whether this is the password of which `kept` was kept; without one, as slowly, that it is not.
    ///
    /// # Errors
    /// Too many wait, or what was kept can't be read.
    pub async fn check(&self, password: String, kept: Option<String>) -> Result<bool, Error> {
        self.beside(move || {
            let right = is_right(&password, kept.as_deref().unwrap_or(NOBODYS))?;
            Ok(right && kept.is_some())
        })
        .await?
    }

    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<Result<T, Error>, Error> {
        let queued = Arc::clone(&self.queue)
            .try_acquire_owned()
            .map_err(|_| Error::Busy)?;
        let seat = Arc::clone(&self.seats)
            .acquire_owned()
            .await
            .map_err(|_| Error::Busy)?;
        // The seat goes with the work: nobody takes it while the thread still computes for somebody who has left.
        let done = tokio::task::spawn_blocking(move || {
            let _held = (seat, queued);
            work()
        });
        done.await.map_err(|e| Error::Failed(e.to_string()))
    }
}

fn hash_now(password: &str, salt: &[u8]) -> Result<String, Error> {
    let failed = |e: argon2::password_hash::Error| Error::Failed(e.to_string());
    let params =
        Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|e| Error::Failed(e.to_string()))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2
        .hash_password_with_salt(password.as_bytes(), salt)
        .map_err(failed)?;
    Ok(hash.to_string())
}

fn is_right(password: &str, kept: &str) -> Result<bool, Error> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Ok(false);
    }
    let failed = |e: &dyn std::fmt::Display| {
        Error::Failed(format!("what is kept of it can't be read ({e})"))
    };
    let parsed = PasswordHash::new(kept).map_err(|e| failed(&e))?;
    match Argon2::default().verify_password(password.as_bytes(), &parsed) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(failed(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_kept_as_a_hash_and_known_again() {
        let (passwords, random) = (Passwords::default(), Random::from_seed(1));
        let kept = passwords
            .hash("correct horse".to_owned(), &random)
            .await
            .unwrap();
        assert!(
            kept.starts_with("$argon2id$v=19$m=32768,t=3,p=1$"),
            "{kept}"
        );
        let again = passwords
            .hash("correct horse".to_owned(), &random)
            .await
            .unwrap();
        assert_ne!(kept, again);
        let check = |password: &str, kept: Option<&str>| {
            passwords.check(password.to_owned(), kept.map(str::to_owned))
        };
        assert!(check("correct horse", Some(&kept)).await.unwrap());
        assert!(!check("correct horsf", Some(&kept)).await.unwrap());
        assert!(!check("correct horse", None).await.unwrap());
        check("x", Some("$argon2id$nothing")).await.unwrap_err();
    }

    /// What nobody knows the password of is of the same cost as everybody's: or a stranger could tell who is a user.
    #[test]
    fn nobodys_hash_has_the_parameters_of_everybodys() {
        let ours = hash_now("x", &[1; 16]).unwrap();
        let parameters = |kept: &str| {
            let parsed = PasswordHash::new(kept).unwrap();
            (
                parsed.algorithm.to_string(),
                parsed.version,
                parsed.params.to_string(),
            )
        };
        assert_eq!(parameters(NOBODYS), parameters(&ours));
        assert!(!is_right("", NOBODYS).unwrap());
        assert!(!is_right("campanile-nobody", NOBODYS).unwrap());
    }

    #[tokio::test]
    async fn no_more_wait_than_there_is_room_for() {
        let passwords = Passwords::default();
        let held = passwords.seats.clone().acquire_many_owned(2).await.unwrap();
        let waiting: Vec<_> = (0..AT_ONCE + WAITING_MAX)
            .map(|_| Box::pin(passwords.check("x".to_owned(), None)))
            .collect();
        let mut waiting = waiting;
        for one in &mut waiting {
            assert!(futures_poll(one).is_none());
        }
        assert_eq!(
            passwords.check("x".to_owned(), None).await,
            Err(Error::Busy)
        );
        drop((waiting, held));
        assert!(!passwords.check("x".to_owned(), None).await.unwrap());
    }

    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
}
