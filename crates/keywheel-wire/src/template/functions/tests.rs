//! Each function in a small template, with what sprig makes of it.

use crate::template::engine::run;
use crate::template::{RenderError, TemplateInput};

fn show(template: &str) -> String {
    run(template, &TemplateInput::default()).unwrap()
}

#[test]
fn each_function_gives_what_sprig_gives() {
    let cases = [
        (r#"{{ default "x" "" }}"#, "x"),
        (r#"{{ "y" | default "x" }}"#, "y"),
        (r#"{{ .Missing | default "x" }}"#, "x"),
        (r#"{{ ternary "a" "b" true }}"#, "a"),
        (r#"{{ coalesce "" 0 "z" }}"#, "z"),
        (r#"{{ empty "" }}"#, "true"),
        (r#"{{ quote "a\"b" }}"#, r#""a\"b""#),
        (r#"{{ squote "a" }}"#, "'a'"),
        (r#"{{ upper "a" }}{{ lower "B" }}{{ title "ab cd" }}"#, "AbAb Cd"),
        (r#"{{ trimSuffix ".lab" "a.lab" }} {{ trimPrefix "a" "ab" }} {{ trimAll "-" "-a-" }}"#, "a b a"),
        (r#"{{ replace "." "-" "a.b.c" }}"#, "a-b-c"),
        (r#"{{ (split "@" "u@d")._1 }}"#, "d"),
        (r#"{{ first (splitList "." "a.b") }}{{ last (list 1 2) }}"#, "a2"),
        (r#"{{ join "," (list "a" "b") }}"#, "a,b"),
        (r#"{{ has "a" (list "a" "b") }} {{ contains "b" "abc" }} {{ hasSuffix "c" "abc" }}"#, "true true true"),
        (r#"{{ b64enc "hi" }} {{ b64dec "aGk=" }}"#, "aGk= hi"),
        (r#"{{ toJson (dict "b" 1 "a" (list true)) }}"#, r#"{"a":[true],"b":1}"#),
        (r#"{{ (fromJson "{\"a\":{\"b\":7}}").a.b }}"#, "7"),
        (r#"{{ get (dict "k" "v") "k" }} {{ hasKey (dict "k" 1) "x" }}"#, "v false"),
        (r#"{{ add 1 2 3 }} {{ sub 5 2 }} {{ mul 2 3 }} {{ div 7 2 }} {{ mod 7 2 }} {{ max 1 9 }}"#, "6 3 6 3 1 9"),
        (
            r#"{{ toJson (append (list 1) 2) }} {{ toJson (uniq (list 1 1)) }} {{ toJson (reverse (list 1 2)) }}"#,
            "[1,2] [1] [2,1]",
        ),
        (r#"{{ trunc 2 "abc" }} {{ trunc -1 "abc" }} {{ substr 1 2 "abc" }}"#, "ab c b"),
        (r#"{{ dig "a" "b" "none" (dict "a" (dict "b" "deep")) }} {{ dig "x" "none" (dict) }}"#, "deep none"),
        (r#"{{ sha256sum "" | trunc 8 }}"#, "e3b0c442"),
        (r#"{{ typeOf "" }} {{ kindIs "map" (dict) }} {{ typeIs "string" 1 }}"#, "string true false"),
        (r#"{{ toJson (merge (dict "a" 1) (dict "a" 2 "b" 3)) }}"#, r#"{"a":1,"b":3}"#),
        (r#"{{ asn1Seq (asn1Enc "int:1") (asn1Enc "bool:true") }}"#, "MAYCAQEBAf8="),
        (r#"{{ asn1Marshal 5 }} {{ asn1Marshal "a@b" "ia5" }}"#, "AgEF FgNhQGI="),
        (r#"{{ regexMatch "^[a-z]+\\.lab$" "web.lab" }} {{ regexMatch "^x" "web" }}"#, "true false"),
        (
            r#"{{ regexReplaceAll "^(.*)@(.*)$" "u@d" "${2}-${1}" }} {{ regexReplaceAllLiteral "u" "u" "$1" }}"#,
            "d-u $1",
        ),
        (r#"{{ regexFind "[0-9]+" "a12b3" }} {{ toJson (regexFindAll "[0-9]" "a12" -1) }}"#, r#"12 ["1","2"]"#),
        (r#"{{ toJson (regexSplit "[,;]" "a,b;c" -1) }}"#, r#"["a","b","c"]"#),
        (r#"{{ toJson .Missing }}"#, "null"),
    ];
    for (template, result) in cases {
        assert_eq!(show(template), result, "{template}");
    }
}

#[test]
fn fail_refuses_with_its_own_words() {
    let error = run(r#"{{ fail "only web servers" }}"#, &TemplateInput::default()).unwrap_err();
    assert!(matches!(&error, RenderError::Refused(message) if message == "only web servers"), "{error:?}");
}

#[test]
fn a_text_beyond_the_limit_is_refused() {
    for template in [
        r#"{{ repeat 1000000 "abc" }}"#,
        r#"{{ range until 10000 }}{{ repeat 1000 "x" }}{{ end }}"#,
        r#"{{ range until 10000 }}{{ range until 10000 }}{{ end }}{{ end }}"#,
    ] {
        assert!(run(template, &TemplateInput::default()).is_err(), "{template}");
    }
}

#[test]
fn wrong_arguments_are_errors_and_not_panics() {
    for template in [
        "{{ upper }}",
        "{{ add 1 \"x\" }}",
        "{{ div 1 0 }}",
        "{{ first 1 }}",
        "{{ get 1 2 }}",
        "{{ fromJson \"{\" }}",
        "{{ dig 1 }}",
        "{{ regexMatch \"(\" \"\" }}",
    ] {
        assert!(
            matches!(run(template, &TemplateInput::default()), Err(RenderError::Execute(_) | RenderError::Parse(_))),
            "{template}"
        );
    }
}

#[test]
fn a_function_that_nobody_knows_is_named() {
    let error = run("{{ env \"HOME\" }}", &TemplateInput::default()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("env"), "{source}");
}
