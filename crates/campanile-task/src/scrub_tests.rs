//! No value leaves a stream, however it is cut and written; and what is no value leaves it unchanged.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const VALUE: &str = "p\"w/d+é & 'x' <9>%=\\z";

fn cut(text: &str, pieces_of: usize, forms: &Forms) -> String {
    let mut scrubber = forms.scrubber();
    let mut out = String::new();
    let chars: Vec<char> = text.chars().collect();
    for piece in chars.chunks(pieces_of) {
        out.push_str(&scrubber.push(&piece.iter().collect::<String>()));
        assert!(
            scrubber.held() < forms.longest().max(1),
            "it holds back less than the longest form"
        );
    }
    out.push_str(&scrubber.end());
    assert_eq!(scrubber.held(), 0);
    out
}

/// The same by looking everywhere: which bytes lie in any form, and a mask for each stretch of them.
fn plainly(text: &str, forms: &Forms) -> String {
    let mut hidden = vec![false; text.len()];
    for form in &forms.0.sorted {
        for at in 0..text.len() {
            if text.as_bytes()[at..].starts_with(form.as_bytes()) {
                hidden[at..at + form.len()].fill(true);
            }
        }
    }
    let mut out = String::new();
    let mut last = false;
    for (at, c) in text.char_indices() {
        match (hidden[at], last) {
            (false, _) => out.push(c),
            (true, false) => out.push_str(SCRUBBED),
            (true, true) => {}
        }
        last = hidden[at];
    }
    out
}

/// Masks that stand beside each other tell no more than one.
fn joined(text: &str) -> String {
    let mut text = text.to_owned();
    while text.contains("******") {
        text = text.replace("******", SCRUBBED);
    }
    text
}

#[test]
fn every_form_is_found_wherever_the_stream_is_cut() {
    let forms = Forms::of([VALUE]);
    let mut escaped = String::new();
    percent_encode(&mut escaped, VALUE.as_bytes(), |b| {
        b.is_ascii_alphanumeric()
    });
    let ascii = VALUE
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('é', "\\u00e9");
    let page = "p&quot;w/d+é &amp; &#39;x&#39; &lt;9&gt;%=\\z";
    let hex = VALUE
        .bytes()
        .map(|b| format!("{b:02x}"))
        .collect::<String>();
    for form in [
        VALUE.to_owned(),
        Value::from(VALUE).to_string().trim_matches('"').to_owned(),
        ascii,
        escaped.to_lowercase(),
        escaped.replace("%20", "+"),
        escaped,
        page.to_owned(),
        hex.to_uppercase(),
        hex,
        format!("{VALUE:?}").trim_matches('"').to_owned(),
    ] {
        let text = format!("é before {form} between {form}{form} after é");
        for pieces_of in [1, 2, 3, 5, 7, 16, 10_000] {
            let clean = joined(&cut(&text, pieces_of, &forms));
            let expected = "é before *** between *** after é";
            assert_eq!(clean, expected, "{form} in pieces of {pieces_of}");
        }
    }
}

#[test]
fn base64_is_known_at_any_place_of_a_longer_text() {
    // As `base64` writes them: of the value alone, and behind `u:` and `us:`.
    for (text, left) in [
        ("Y29ycmVjdCBob3JzZSE=", "***E="),
        ("dTpjb3JyZWN0IGhvcnNlIQ==", "dTp***IQ=="),
        ("dXM6Y29ycmVjdCBob3JzZSE=", "dXM6***E="),
        ("dTpjb3JyZWN0IGhvcnNlIS1tb3Jl", "dTp***S1tb3Jl"),
    ] {
        let clean = Forms::of(["correct horse!"]).clean(text);
        assert!(
            clean.contains(SCRUBBED) && clean.len() <= left.len(),
            "{text}: {clean}"
        );
    }
}

#[test]
fn lines_of_a_value_are_values_and_short_ones_are_not() {
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nab\n-----END KEY-----";
    let forms = Forms::of([key]);
    let said = "  MIIEvQIBADANBg\r\n  ab\r\n";
    assert_eq!(forms.clean(said), "  ***\r\n  ab\r\n");
    let none = Forms::of(["seven77"]);
    assert!(none.is_empty());
    assert_eq!(none.clean("seven77"), "seven77");
    assert!(!format!("{forms:?}{:?}", forms.scrubber()).contains("MIIE"));
}

#[test]
fn json_stays_json() {
    // As text, the mask would begin behind the backslash of the line's end.
    let forms = Forms::of(["nabcdefgh", "12345678"]);
    let value =
        json!({ "a": "x\nabcdefgh", "nabcdefgh": [12_345_678, 1234, "nabcdefgh!"], "b": null });
    assert_eq!(
        forms.clean_json(value),
        json!({ "a": "x\nabcdefgh", "***": ["***", 1234, "***!"], "b": null })
    );
}

proptest! {
    /// Values of few letters, so that they overlap, begin alike and hold each other.
    #[test]
    fn a_stream_is_as_clean_as_its_whole_text(
        values in prop::collection::vec("[abé]{8,12}", 1..4),
        text in "([abé]|[abé]{8}|[ab=%]{3}){0,60}",
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        pieces_of in 1_usize..9,
    ) {
        let mut text = text;
        for at in at {
            let mut at = at.index(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text.insert_str(at, &values[0]);
        }
        let forms = Forms::of(values.iter().map(String::as_str));
        let clean = cut(&text, pieces_of, &forms);
        prop_assert_eq!(joined(&clean), joined(&plainly(&text, &forms)));
        for value in &values {
            prop_assert!(!clean.contains(value.as_str()));
        }
    }
}
