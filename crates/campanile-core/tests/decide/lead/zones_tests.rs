//! What a leader with rules of its own does next, and what the setting says.

use super::*;

#[test]
fn a_leader_announces_then_moves_then_is_done() {
    let of = |text: Option<&str>, announced| Kept::read(text).next("2026b x", announced);
    for announced in [false, true] {
        assert_eq!(of(None, announced), Step::Announce);
        assert_eq!(of(Some("2026a y"), announced), Step::Announce);
        assert_eq!(of(Some("moving to 2026a y"), announced), Step::Announce);
        assert_eq!(of(Some("2026b x"), announced), Step::Done);
    }
    // Another term's move is announced again; one's own goes on.
    assert_eq!(of(Some("moving to 2026b x"), false), Step::Announce);
    assert_eq!(of(Some("moving to 2026b x"), true), Step::Move);
}

#[test]
fn the_setting_says_what_was_written() {
    for kept in [
        Kept::By("2026b 0a1b2c3d".to_owned()),
        Kept::MovingTo("2026b 0a1b2c3d".to_owned()),
    ] {
        assert_eq!(Kept::read(Some(&kept.to_string())), kept);
    }
    assert_eq!(Kept::read(None), Kept::Unknown);
}
