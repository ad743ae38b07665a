//! What every store of users and sessions does, one function for each behaviour.
//!
//! `conformance::logins!(factory)` makes a `#[tokio::test]` of each. The factory is an async function that gives a fresh,
//! empty store as `Arc<dyn LoginStore>`, and a guard that keeps alive what it stands on; or `None` where it can't run.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;
use std::time::Duration;

use campanile_core::port::Written;
use campanile_core::system::Random;
use campanile_login::session::{AGE_MAX, IDLE_MAX, Key, OF_ONE_MAX, SEEN_EVERY, Session, Token};
use campanile_login::store::{LoginStore, Opened, Put, Which};
use campanile_login::user::User;
use campanile_login::{Kind, Rights, Role, Scope};
use campanile_schedule::time::Timestamp;

use crate::somebody;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_ms(1_790_000_000_000).plus(Duration::from_secs(seconds))
}

fn user(name: &str) -> User {
    let scope = Scope::of(&["prefix:bill-", "owner:finance"]).unwrap();
    User {
        name: name.to_owned(),
        rights: Rights::of(Role::Operator).with_data(true).within(scope),
        disabled: false,
        created_at: at(0),
        password_at: at(0),
        version: 1,
    }
}

fn creation(name: &str) -> Put {
    Put {
        expected: None,
        user: user(name),
        password: Some(format!("hash of {name}'s")),
        ends_sessions: false,
    }
}

async fn put(store: &Arc<dyn LoginStore>, put: &Put) -> Written {
    store.put_user(somebody(), put, at(0)).await.unwrap()
}

async fn done(store: &Arc<dyn LoginStore>, wanted: &Put) {
    assert_eq!(put(store, wanted).await, Written::Applied);
}

fn session(kind: Kind, subject: &str, seed: u64, seconds: u64) -> Session {
    Session {
        key: Token::new(&Random::from_seed(seed)).key(),
        kind,
        subject: subject.to_owned(),
        name: format!("{subject} \"by name\""),
        groups: vec!["ops".to_owned(), "CN=a,OU=b".to_owned()],
        created_at: at(seconds),
        seen_at: at(seconds),
        address: "10.0.0.1".to_owned(),
        agent: "a browser".to_owned(),
    }
}

async fn open(store: &Arc<dyn LoginStore>, session: &Session, instead_of: Option<&Key>) {
    let opened = store.open_session(somebody(), session, instead_of).await;
    assert_eq!(opened.unwrap(), Opened::Open);
}

async fn is_there(store: &Arc<dyn LoginStore>, session: &Session) -> bool {
    store.session(&session.key).await.unwrap().is_some()
}

/// A user is made once, and is read as he was put.
pub async fn a_user_is_made_once(store: Arc<dyn LoginStore>) {
    assert_eq!(put(&store, &creation("ada")).await, Written::Applied);
    assert_eq!(put(&store, &creation("ada")).await, Written::Stale);
    let kept = store.user("ada").await.unwrap().unwrap();
    assert_eq!(
        (&kept.user, kept.password.as_str()),
        (&user("ada"), "hash of ada's")
    );
    assert!(!format!("{kept:?}").contains("hash of"));
    assert!(store.user("Ada").await.unwrap().is_none() && store.user("").await.unwrap().is_none());
    let bare = Put {
        password: None,
        ..creation("bob")
    };
    store.put_user(somebody(), &bare, at(0)).await.unwrap_err();
    assert!(store.user("bob").await.unwrap().is_none());
}

/// A change is of the version that was seen; without a new password the old one stays.
pub async fn a_user_is_changed_as_he_was_seen(store: Arc<dyn LoginStore>) {
    done(&store, &creation("ada")).await;
    let mut change = Put {
        expected: Some(2),
        password: None,
        ..creation("ada")
    };
    change.user.disabled = true;
    change.user.rights = Rights::of(Role::Viewer);
    assert_eq!(put(&store, &change).await, Written::Stale);
    change.expected = Some(1);
    assert_eq!(put(&store, &change).await, Written::Applied);
    assert_eq!(put(&store, &change).await, Written::Stale);
    let kept = store.user("ada").await.unwrap().unwrap();
    assert_eq!(
        (kept.user.version, kept.password.as_str()),
        (2, "hash of ada's")
    );
    assert!(kept.user.disabled && kept.user.rights == Rights::of(Role::Viewer));
    let fresh = Put {
        expected: Some(2),
        password: Some("another".to_owned()),
        ..creation("ada")
    };
    assert_eq!(put(&store, &fresh).await, Written::Applied);
    assert_eq!(
        store.user("ada").await.unwrap().unwrap().password,
        "another"
    );
    let nobody = Put {
        expected: Some(1),
        ..creation("bob")
    };
    assert_eq!(put(&store, &nobody).await, Written::Stale);
}

/// Of many who make one user, one does.
pub async fn of_many_who_make_a_user_one_does(store: Arc<dyn LoginStore>) {
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            campanile_core::system::spawn(async move { put(&store, &creation("ada")).await })
        })
        .collect();
    let mut made = 0;
    for one in tries {
        made += usize::from(one.await.unwrap().is_applied());
    }
    assert_eq!(made, 1);
}

/// Users are listed by name, page by page.
pub async fn users_are_listed_by_name(store: Arc<dyn LoginStore>) {
    for name in ["b", "a.c", "a", "a_b", "z@x"] {
        done(&store, &creation(name)).await;
    }
    let names = async |after: Option<&str>, limit| -> Vec<String> {
        let users = store.users(after, limit).await.unwrap();
        users.into_iter().map(|user| user.name).collect()
    };
    assert_eq!(names(None, 9).await, ["a", "a.c", "a_b", "b", "z@x"]);
    assert_eq!(names(Some("a.c"), 2).await, ["a_b", "b"]);
}

/// Whoever is removed is gone with his sessions, and those of others stay.
pub async fn a_user_goes_with_his_sessions(store: Arc<dyn LoginStore>) {
    done(&store, &creation("ada")).await;
    let [own, other, same_name] = [
        session(Kind::User, "ada", 1, 0),
        session(Kind::User, "bob", 2, 0),
        session(Kind::Oidc, "ada", 3, 0),
    ];
    for one in [&own, &other, &same_name] {
        open(&store, one, None).await;
    }
    assert_eq!(
        store.remove_user(somebody(), "ada", at(1)).await.unwrap(),
        Written::Applied
    );
    assert_eq!(
        store.remove_user(somebody(), "ada", at(1)).await.unwrap(),
        Written::Stale
    );
    assert!(!is_there(&store, &own).await);
    assert!(is_there(&store, &other).await && is_there(&store, &same_name).await);
    assert!(store.user("ada").await.unwrap().is_none());
}

/// A new password ends his sessions in the same act.
pub async fn a_change_may_end_his_sessions(store: Arc<dyn LoginStore>) {
    done(&store, &creation("ada")).await;
    let own = session(Kind::User, "ada", 1, 0);
    open(&store, &own, None).await;
    let stale = Put {
        expected: Some(9),
        ends_sessions: true,
        ..creation("ada")
    };
    assert_eq!(put(&store, &stale).await, Written::Stale);
    assert!(is_there(&store, &own).await);
    let quiet = Put {
        expected: Some(1),
        ..creation("ada")
    };
    done(&store, &quiet).await;
    assert!(is_there(&store, &own).await);
    let change = Put {
        expected: Some(2),
        ends_sessions: true,
        ..creation("ada")
    };
    done(&store, &change).await;
    assert!(!is_there(&store, &own).await);
}

/// A session is read as it was opened, with its user as he is now.
pub async fn a_session_brings_its_user(store: Arc<dyn LoginStore>) {
    done(&store, &creation("ada")).await;
    let [local, foreign, orphan] = [
        session(Kind::User, "ada", 1, 0),
        session(Kind::Oidc, "ada", 2, 0),
        session(Kind::User, "bob", 3, 0),
    ];
    for one in [&local, &foreign, &orphan] {
        open(&store, one, None).await;
    }
    let found = store.session(&local.key).await.unwrap().unwrap();
    assert_eq!((&found.session, &found.user), (&local, &Some(user("ada"))));
    let mut change = Put {
        expected: Some(1),
        ..creation("ada")
    };
    change.user.disabled = true;
    done(&store, &change).await;
    let found = store.session(&local.key).await.unwrap().unwrap();
    assert!(found.user.unwrap().disabled);
    for one in [&foreign, &orphan] {
        let found = store.session(&one.key).await.unwrap().unwrap();
        assert_eq!((&found.session, &found.user), (one, &None));
    }
    let unknown = Token::new(&Random::from_seed(99)).key();
    assert!(store.session(&unknown).await.unwrap().is_none());
}

/// A login takes the place of the browser's session before.
pub async fn a_login_replaces_a_session(store: Arc<dyn LoginStore>) {
    let (old, new) = (
        session(Kind::User, "ada", 1, 0),
        session(Kind::User, "ada", 2, 1),
    );
    open(&store, &old, None).await;
    open(&store, &new, Some(&old.key)).await;
    assert!(!is_there(&store, &old).await && is_there(&store, &new).await);
}

/// One person has so many sessions and no more; the one that was not used for longest goes.
pub async fn a_person_has_so_many_sessions(store: Arc<dyn LoginStore>) {
    let other = session(Kind::User, "bob", 1, 0);
    open(&store, &other, None).await;
    let most = u64::try_from(OF_ONE_MAX).unwrap();
    let all: Vec<Session> = (0..=most)
        .map(|n| session(Kind::User, "ada", 10 + n, n))
        .collect();
    for one in &all[..OF_ONE_MAX] {
        open(&store, one, None).await;
    }
    // The first is used, so the second is the oldest now.
    store.seen(&all[0].key, at(100)).await.unwrap();
    open(&store, &all[OF_ONE_MAX], None).await;
    assert!(is_there(&store, &all[0]).await && !is_there(&store, &all[1]).await);
    assert!(is_there(&store, &all[OF_ONE_MAX]).await && is_there(&store, &other).await);
    assert_eq!(
        store.sessions(at(100), 1_000).await.unwrap().len(),
        OF_ONE_MAX + 1
    );
}

/// That a session is used is noted once in a while.
pub async fn use_is_noted_once_in_a_while(store: Arc<dyn LoginStore>) {
    let one = session(Kind::User, "ada", 1, 0);
    open(&store, &one, None).await;
    let seen_at = async || {
        store
            .session(&one.key)
            .await
            .unwrap()
            .unwrap()
            .session
            .seen_at
    };
    store
        .seen(&one.key, at(SEEN_EVERY.as_secs() - 1))
        .await
        .unwrap();
    assert_eq!(seen_at().await, at(0));
    store
        .seen(&one.key, at(SEEN_EVERY.as_secs()))
        .await
        .unwrap();
    assert_eq!(seen_at().await, at(SEEN_EVERY.as_secs()));
    // A node whose clock is behind takes nothing back.
    store.seen(&one.key, at(0)).await.unwrap();
    assert_eq!(seen_at().await, at(SEEN_EVERY.as_secs()));
}

/// What is over is not listed, and goes with a sweep and with anybody's login.
pub async fn what_is_over_goes(store: Arc<dyn LoginStore>) {
    let idle = session(Kind::User, "ada", 1, 0);
    let used = session(Kind::User, "ada", 2, 0);
    open(&store, &idle, None).await;
    open(&store, &used, None).await;
    store.seen(&used.key, at(1_000)).await.unwrap();
    let now = at(IDLE_MAX.as_secs());
    let ids = async |now| -> Vec<Key> {
        let listed = store.sessions(now, 10).await.unwrap();
        listed.into_iter().map(|s| s.key).collect()
    };
    assert_eq!(ids(now).await, std::slice::from_ref(&used.key));
    assert_eq!(store.sweep_sessions(now).await.unwrap(), 1);
    assert_eq!(store.sweep_sessions(now).await.unwrap(), 0);
    assert!(!is_there(&store, &idle).await && is_there(&store, &used).await);
    // Used on and on, and over at last.
    for hour in 1..=12_u64 {
        store.seen(&used.key, at(hour * 3_000)).await.unwrap();
    }
    store
        .seen(&used.key, at(AGE_MAX.as_secs() - 100))
        .await
        .unwrap();
    assert_eq!(
        ids(at(AGE_MAX.as_secs() - 1)).await,
        std::slice::from_ref(&used.key)
    );
    let later = session(Kind::Oidc, "bob", 3, AGE_MAX.as_secs());
    open(&store, &later, None).await;
    assert!(!is_there(&store, &used).await);
    assert_eq!(ids(at(AGE_MAX.as_secs())).await, [later.key]);
}

/// Sessions are ended one by one, by what people call them, and all of a person.
pub async fn sessions_are_ended(store: Arc<dyn LoginStore>) {
    let all: Vec<Session> = (0..5_u64)
        .map(|n| session(Kind::User, "ada", n, n))
        .collect();
    let foreign = session(Kind::Oidc, "ada", 9, 0);
    for one in all.iter().chain([&foreign]) {
        open(&store, one, None).await;
    }
    let close = async |which: Which| {
        store
            .close_sessions(somebody(), &which, at(9))
            .await
            .unwrap()
    };
    assert_eq!(close(Which::Own(all[0].key.clone())).await, 1);
    assert_eq!(close(Which::Own(all[0].key.clone())).await, 0);
    assert_eq!(close(Which::Id(all[1].key.id().to_owned())).await, 1);
    assert_eq!(close(Which::Id(all[2].key.id()[..8].to_owned())).await, 0);
    assert_eq!(close(Which::Id("%".to_owned())).await, 0);
    assert_eq!(close(Which::Of(Kind::User, "ada".to_owned())).await, 3);
    assert!(is_there(&store, &foreign).await);
}

/// Makes a test of each behaviour. See [`crate::logins`].
#[macro_export]
#[doc(hidden)]
macro_rules! __conformance_logins {
    ($factory:path) => {
        $crate::__conformance_logins!(@each $factory:
            a_user_is_made_once
            a_user_is_changed_as_he_was_seen
            of_many_who_make_a_user_one_does
            users_are_listed_by_name
            a_user_goes_with_his_sessions
            a_change_may_end_his_sessions
            a_session_brings_its_user
            a_login_replaces_a_session
            a_person_has_so_many_sessions
            use_is_noted_once_in_a_while
            what_is_over_goes
            sessions_are_ended
        );
    };
    (@each $factory:path: $($behaviour:ident)*) => {
        $(
            #[tokio::test]
            async fn $behaviour() {
                if let Some((store, _guard)) = $factory().await {
                    $crate::logins::$behaviour(store).await;
                }
            }
        )*
    };
}
