//! What is wrong with a text before anybody asks what it means.

use super::mistakes;
use crate::spec::{DEPTH_MAX, TEXT_LEN_MAX, read};

#[test]
fn mistakes_of_the_text_are_located() {
    for (text, expected) in [
        ("", "1:1 the document is empty | it starts with `loadbalancer:`"),
        ("# nothing\n", "1:1 the document is empty | it starts with `loadbalancer:`"),
        ("---\n", "2:1 expected a mapping, found nothing"),
        ("web\n", "1:1 expected a mapping, found the text `web`"),
        ("- a\n", "1:1 expected a mapping, found a list"),
        ("[]", "1:1 expected a mapping, found a list"),
        (
            "a: b: c\n",
            "1:5 a second `:` in one value | put text that holds `: ` or ends with `:` in quotes, or start a new line",
        ),
        ("é: 'x", "1:4 this is not YAML: while scanning a quoted scalar, found unexpected end of stream"),
        ("a:\n\tb: 1\n", "2:1 a tab in the indentation | indent with spaces"),
        ("a: \u{0}b", "1:4 the control character U+0000 is not allowed"),
        ("a: b\rc: d", "1:5 a carriage return without a line feed"),
        (
            "loadbalancer: &x {vip_address: 10.0.0.1}",
            "1:15 anchors (`&name`) are not allowed | write the value itself here",
        ),
        (
            "loadbalancer: !!map {vip_address: 10.0.0.1}",
            "1:15 tags (`!name`) are not allowed | write the value itself here",
        ),
        ("loadbalancer: *x\n", "1:15 aliases (`*name`) are not allowed | write the value itself here"),
        (
            "loadbalancer: {vip_address: 10.0.0.1}\n---\nx: y\n",
            "2:1 a second document starts here | keep one load balancer in a document",
        ),
        (
            "{\"loadbalancer\": {\"vip_address\": \"10.0.0.1\" \"x\": 1}}",
            "1:45 this is not JSON: expected `,` or a closing bracket",
        ),
        (
            "{\"loadbalancer\": {\"name\": \"\\ud83d\"}}",
            "1:34 this is not JSON: half of a surrogate pair is no character",
        ),
        ("{\"loadbalancer\": {", "1:19 this is not JSON: the text ends too early: a bracket is not closed"),
        (
            "{\"loadbalancer\": {\"vip_address\": \"10.0.0.1\"}} x",
            "1:47 this is not JSON: nothing may follow the document",
        ),
        (
            "loadbalancer: {vip_address: 10.0.0.1, name: \"a\\0b\"}",
            "1:45 the control character U+0000 is not allowed in text",
        ),
        (
            "{\"loadbalancer\": {\"vip_address\": \"10.0.0.1\", \"na\\u0001me\": 1}}",
            "1:46 the control character U+0001 is not allowed in text",
        ),
        ("loadbalancer: {vip_address: 10.0.0.1}\n? [a]\n: b\n", "2:3 a key must be a word, not a list or a mapping"),
        ("loadbalancer: {vip_address: 10.0.0.1, : b}\n", "1:39 a key is missing here"),
    ] {
        assert_eq!(mistakes(text), [expected], "{text:?}");
    }
}

#[test]
fn doubled_keys_name_both_places_in_yaml_and_json() {
    assert_eq!(
        mistakes("loadbalancer:\n  vip_address: 10.0.0.1\n  name: a\n  vip_address: 10.0.0.2\n"),
        ["4:3 `vip_address` is written twice, first on line 2 | it is already given at 2:3; keep one"]
    );
    assert_eq!(
        mistakes("{\"loadbalancer\": {\"vip_address\": \"10.0.0.1\",\n \"vip_address\": \"10.0.0.1\"}}"),
        ["2:2 `vip_address` is written twice, first on line 1 | it is already given at 1:19; keep one"]
    );
}

#[test]
fn columns_count_characters_after_any_text_and_in_any_style() {
    for (text, place) in [
        ("loadbalancer: {name: \"日本😀\", vip_address: 10.0.0.1, wrokers: 1}", "1:52"),
        ("\u{FEFF}loadbalancer: {vip_address: 10.0.0.1, wrokers: 1}", "1:39"),
        ("loadbalancer:\r\n  vip_address: 10.0.0.1\r\n  wrokers: 1\r\n", "3:3"),
        ("loadbalancer:\n  vip_address: 10.0.0.1\n  workers:   many", "3:14"),
        ("loadbalancer:\n  vip_address: 10.0.0.1\n  # é\n  workers:\n  - 1\n", "5:3"),
        ("loadbalancer:\n  vip_address: 10.0.0.1\n  workers: # -\n\n    - 1\n", "5:5"),
        ("loadbalancer:\n  vip_address:\n", "2:3"),
        ("loadbalancer: {vip_address: }\n", "1:16"),
        ("loadbalancer:\n  vip_address: 10.0.0.1\n  name: [\n   a]", "3:9"),
        ("loadbalancer:\n  vip_address: 10.0.0.1\n  listeners:\n  - protocol: TCP\n", "4:5"),
        ("loadbalancer:\n  vip_address: 10.0.0.1\n  listeners:\n  -\n", "4:4"),
    ] {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("{place} ")), "{text:?}: {found:?}");
    }
}

#[test]
fn depth_and_size_are_bounded() {
    for open in ["[", "{\"a\":", "{a: [", "- "] {
        let found = mistakes(&open.repeat(100_000));
        assert_eq!(found.len(), 1, "{open}: {found:?}");
        assert!(found[0].contains(&format!("nested deeper than {DEPTH_MAX} levels")), "{open}: {found:?}");
    }
    assert!(mistakes(&" ".repeat(TEXT_LEN_MAX + 1))[0].contains("longer than"));
}

#[test]
fn a_flood_of_mistakes_is_counted_not_drawn() {
    let text = format!("loadbalancer: {{vip_address: 10.0.0.1, tags: [{}]}}", "1,".repeat(50_000));
    let refused = read("flood", &text).unwrap_err();
    assert_eq!(refused.mistakes.len(), crate::spec::MISTAKES_MAX);
    assert!(refused.rendered.ends_with("and 49900 more mistakes, not drawn\n"));
    // Work must not grow with the square of the keys: this would take minutes.
    let keys: String = (0..100_000).map(|i| format!("  k{i}: 1\n")).collect();
    let refused = read("flood", &format!("loadbalancer:\n  vip_address: 10.0.0.1\n{keys}")).unwrap_err();
    assert!(refused.rendered.ends_with("and 99900 more mistakes, not drawn\n"));
}

#[test]
fn mistakes_are_drawn_with_their_lines() {
    let refused = read("web.yaml", "loadbalancer:\n  vip_adress: 10.0.0.1 # é\n").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "error: unknown key `vip_adress`\n \
         --> web.yaml:2:3\n  \
           |\n\
         2 |   vip_adress: 10.0.0.1 # é\n  \
           |   ^^^^^^^^^^\n  \
           |\n  \
           = help: did you mean `vip_address`?\n\n"
    );
}

#[test]
fn a_long_line_is_drawn_around_the_mistake() {
    let tags = "\"é\",".repeat(500);
    let text = format!("{{\"loadbalancer\": {{\"tags\": [{tags}\"x\"], \"vip_adress\": \"10.0.0.1\"}}}}");
    let refused = read("<request>", &text).unwrap_err();
    let column = refused.mistakes[0].column;
    assert!(refused.rendered.contains(&format!("<request>:1:{column}")), "{refused}");
    assert!(refused.rendered.contains("^^^^^^^^^^^^"), "{refused}");
    assert!(refused.rendered.len() < 1000, "{refused}");
}
