//! Tokens: each check of an id token, met by a token that is wrong in just that.

use campanile_login::oidc::{Expected, Identity, Invalid, Keys, verify};
use campanile_schedule::time::Timestamp;
use serde_json::{Value, json};

use crate::sham::Sham;

const NOW_S: i64 = 1_790_000_000;

fn expected() -> Expected<'static> {
    Expected {
        issuer: "https://id.example",
        client_id: "campanile",
        nonce: "n-1",
        now: Timestamp::from_ms(NOW_S * 1_000),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "sub": "248289761001", "aud": "campanile", "exp": NOW_S + 300, "iat": NOW_S - 1,
        "nonce": "n-1", "preferred_username": "ada", "groups": ["ops", "dev"],
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => {
            claims.as_object_mut().unwrap().remove(name);
        }
        value => claims[name] = value,
    }
    claims
}

fn keys(sham: &Sham) -> Keys {
    Keys::read(sham.keys().to_string().as_bytes()).unwrap()
}

fn refused(sham: &Sham, token: &str) -> String {
    verify(token, &keys(sham), &expected())
        .unwrap_err()
        .to_string()
}

#[test]
fn every_algorithm_that_is_believed_is_checked() {
    let sham = Sham::new("a");
    assert_eq!(keys(&sham).len(), 3, "what can't be used is left out");
    for alg in ["RS256", "PS256", "ES256", "EdDSA"] {
        let token = sham.token(alg, &claims());
        let believed = verify(&token, &keys(&sham), &expected()).unwrap();
        let who = believed.identity("preferred_username", "groups");
        assert_eq!((who.name.as_str(), who.groups.len()), ("ada", 2), "{alg}");
        // Each bit of the signature, of the claims and of the head counts.
        for at in [5, token.len() / 2, token.len() - 20] {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            verify(&other, &keys(&sham), &expected()).unwrap_err();
        }
    }
    // The pair of keys of another provider, under the same name.
    let other = Sham::new("a");
    assert!(refused(&sham, &other.token("ES256", &claims())).contains("not the provider's"));
}

#[test]
fn nobodys_and_everybodys_signatures_are_refused() {
    let sham = Sham::new("a");
    let kid = sham.kid("RS256");
    for alg in ["none", "HS256"] {
        for kid in [Some(kid.as_str()), None, Some("shared")] {
            let said = refused(&sham, &sham.token_by(alg, kid, &claims()));
            assert!(said.contains("not believed"), "{alg} {said}");
        }
    }
    for alg in ["None", "hs256", "RS1", ""] {
        let token = sham.token_of(&json!({ "alg": "RS256" }), &claims());
        let (_, rest) = token.split_once('.').unwrap();
        use base64::Engine as _;
        let head = json!({ "alg": alg, "kid": kid }).to_string();
        let head = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(head);
        assert!(
            refused(&sham, &format!("{head}.{rest}")).contains("not believed"),
            "{alg}"
        );
    }
}

#[test]
fn a_key_is_named_and_for_its_algorithm() {
    let sham = Sham::new("a");
    let by = |alg: &str, kid: Option<&str>| {
        verify(
            &sham.token_by(alg, kid, &claims()),
            &keys(&sham),
            &expected(),
        )
    };
    assert_eq!(by("RS256", Some("other")).unwrap_err(), Invalid::UnknownKey);
    assert_eq!(
        by("ES256", Some(&sham.kid("RS256"))).unwrap_err(),
        Invalid::UnknownKey
    );
    // Without a name, where one key alone fits.
    by("RS256", None).unwrap();
    let twice = json!({ "keys": [sham.keys()["keys"][0], sham.keys()["keys"][0]] });
    let twice = Keys::read(twice.to_string().as_bytes()).unwrap();
    let token = sham.token_by("RS256", None, &claims());
    assert_eq!(
        verify(&token, &twice, &expected()).unwrap_err(),
        Invalid::UnknownKey
    );
    let critical = json!({ "alg": "RS256", "kid": sham.kid("RS256"), "crit": ["exp"] });
    assert!(refused(&sham, &sham.token_of(&critical, &claims())).contains("understood"));
}

#[test]
fn what_a_token_says_is_checked() {
    let sham = Sham::new("a");
    let leeway = 60;
    for (wrong, told) in [
        (with("iss", json!("https://evil.example")), "issuer"),
        (with("iss", json!("https://id.example/")), "issuer"),
        (with("iss", Value::Null), "can't be read"),
        (with("aud", json!("other")), "somebody else"),
        (with("aud", json!(["other"])), "somebody else"),
        (with("aud", json!([])), "somebody else"),
        (with("aud", json!(["campanile", "other"])), "for several"),
        (with("aud", Value::Null), "can't be read"),
        (with("azp", json!("other")), "another client"),
        (with("exp", json!(NOW_S - leeway)), "over"),
        (with("exp", json!("soon")), "can't be read"),
        (with("exp", Value::Null), "can't be read"),
        (with("nbf", json!(NOW_S + leeway + 1)), "not count yet"),
        (with("iat", json!(NOW_S + leeway + 1)), "future"),
        (with("iat", Value::Null), "can't be read"),
        (with("nonce", json!("n-2")), "another login"),
        (with("nonce", json!("")), "another login"),
        (with("nonce", Value::Null), "another login"),
        (with("sub", json!("")), "subject"),
        (with("sub", json!("x".repeat(500))), "subject"),
        (with("sub", json!(7)), "can't be read"),
    ] {
        let said = refused(&sham, &sham.token("ES256", &wrong));
        assert!(said.contains(told), "{wrong}: {said}");
    }
    for right in [
        with("aud", json!(["campanile"])),
        with("azp", json!("campanile")),
        with("exp", json!(NOW_S - leeway + 1)),
        with("nbf", json!(NOW_S + leeway)),
        with("iat", json!(NOW_S as f64 + 0.5)),
    ] {
        verify(&sham.token("ES256", &right), &keys(&sham), &expected()).unwrap();
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let sham = Sham::new("a");
    let token = sham.token("RS256", &claims());
    let (message, _) = token.rsplit_once('.').unwrap();
    for text in [
        "",
        "a.b",
        "a.b.c",
        &format!("{token}.x"),
        message,
        &format!("{message}."),
        &format!("{token}="),
    ] {
        refused(&sham, text);
    }
    assert!(refused(&sham, &format!("{token}{}", "A".repeat(70_000))).contains("too long"));
    // What is checked stands there once: no reader may see another claim than the one that was checked.
    let twice =
        claims()
            .to_string()
            .replacen("\"iss\"", "\"iss\":\"https://evil.example\",\"iss\"", 1);
    let twice = sham.signed(&json!({ "alg": "ES256", "kid": sham.kid("ES256") }), &twice);
    assert!(
        refused(&sham, &twice).contains("duplicate"),
        "{}",
        refused(&sham, &twice)
    );
    assert!(Keys::read(b"{}").is_err() && Keys::read(b"[]").is_err());
    let many = json!({ "keys": vec![json!({}); 101] });
    assert!(
        Keys::read(many.to_string().as_bytes())
            .unwrap_err()
            .contains("101")
    );
}

#[test]
fn who_it_is_stands_in_the_claims_that_the_settings_name() {
    let sham = Sham::new("a");
    let of = |claims: Value, user: &str, groups: &str| -> Identity {
        let token = sham.token("ES256", &claims);
        verify(&token, &keys(&sham), &expected())
            .unwrap()
            .identity(user, groups)
    };
    let plain = of(claims(), "preferred_username", "groups");
    assert_eq!(
        (plain.subject.as_str(), plain.name.as_str()),
        ("248289761001", "ada")
    );
    let nested = with("realm_access", json!({ "roles": ["admin", 7, null] }));
    assert_eq!(of(nested, "name", "realm_access.roles").groups, ["admin"]);
    let pointed = with("https://acme.example/groups", json!("one"));
    assert_eq!(
        of(pointed, "x", "https://acme.example/groups").groups,
        ["one"]
    );
    assert!(of(claims(), "name", "roles").groups.is_empty());
    // Without a name of people, and with one that nobody proved, he is called by the provider's own.
    assert_eq!(of(claims(), "name", "groups").name, "248289761001");
    for odd in [json!("a\nb"), json!(""), json!(7), json!("x".repeat(300))] {
        assert_eq!(of(with("name", odd), "name", "groups").name, "248289761001");
    }
    let mail = with("email", json!("ada@acme.example"));
    assert_eq!(of(mail.clone(), "email", "groups").name, "248289761001");
    let mut proved = mail;
    proved["email_verified"] = true.into();
    assert_eq!(of(proved, "email", "groups").name, "ada@acme.example");
}
