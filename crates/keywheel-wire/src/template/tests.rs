//! Templates as people write them, and what they make.

use base64ct::{Base64, Encoding};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn input(key: PublicKeyInput) -> TemplateInput {
    let subject = NameInput { common_name: "web.lab".into(), ..NameInput::default() };
    TemplateInput {
        subject: subject.clone(),
        sans: vec![
            San::guess("web.lab"),
            San::guess("10.0.0.7"),
            San::guess("ops@lab"),
            San::guess("spiffe://lab/web"),
        ],
        token: json!({"iss": "admin", "sub": "web.lab", "email": "jane@lab", "groups": ["web"]})
            .as_object()
            .unwrap()
            .clone(),
        user: None,
        request: RequestInput {
            subject: NameInput { organization: vec!["Mallory".into()], ..subject },
            dns_names: vec!["web.lab".into()],
            extensions: vec![ExtensionInput { id: "1.2.3".into(), critical: false, value: vec![5, 0] }],
            public_key: key,
            ..RequestInput::default()
        },
        ..TemplateInput::default()
    }
}

fn rsa() -> PublicKeyInput {
    PublicKeyInput::Rsa { bits: 2048, exponent: 65537 }
}

fn ecdsa() -> PublicKeyInput {
    PublicKeyInput::Ecdsa { curve: "P-256".into() }
}

#[test]
fn the_default_leaf_has_the_authorised_names_and_a_key_usage_for_its_key() {
    use KeyUsageFlag::{DigitalSignature, KeyEncipherment};
    let made = render(DEFAULT_LEAF, &input(rsa())).unwrap();
    assert_eq!(made.subject.common_name, "web.lab");
    assert_eq!(made.subject.organization, Vec::<String>::new());
    let kinds: Vec<&str> = made.sans.iter().map(|san| san.kind.as_str()).collect();
    assert_eq!(kinds, ["dns", "ip", "email", "uri"]);
    assert_eq!(made.key_usage, [DigitalSignature, KeyEncipherment]);
    assert_eq!(made.ext_key_usage, ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    assert_eq!(made.basic_constraints, None);
    for key in [ecdsa(), PublicKeyInput::Ed25519] {
        assert_eq!(render(DEFAULT_LEAF, &input(key)).unwrap().key_usage, [DigitalSignature]);
    }
}

#[test]
fn a_subject_may_be_built_from_data_token_and_parts() {
    let template = r#"{
        "subject": {
            "country": {{ toJson .Country }},
            "organization": [{{ quote .Organization }}, "Second"],
            "organizationalUnit": {{ .Token.groups | toJson }},
            "commonName": {{ .Subject.CommonName | upper | quote }},
            "extraNames": [{"type": "1.2.840.113549.1.9.1", "value": {{ toJson .Token.email }}}]
        },
        "sans": {{ toJson .SANs }},
        "keyUsage": "digitalSignature",
        "extKeyUsage": ["client-auth"]
    }"#;
    let mut input = input(ecdsa());
    input.provisioner_data = json!({"Country": "DE", "Organization": "Lab \"A\""}).as_object().unwrap().clone();
    let made = render(template, &input).unwrap();
    assert_eq!(made.subject.country, ["DE"]);
    assert_eq!(made.subject.organization, ["Lab \"A\"", "Second"]);
    assert_eq!(made.subject.organizational_unit, ["web"]);
    assert_eq!(made.subject.common_name, "WEB.LAB");
    assert_eq!(made.subject.extra_names, [("1.2.840.113549.1.9.1".to_owned(), "jane@lab".to_owned())]);
    assert_eq!(made.ext_key_usage, ["1.3.6.1.5.5.7.3.2"]);
}

#[test]
fn names_may_depend_on_conditions_and_loops() {
    let template = r#"{
        "subject": "{{ .Subject.CommonName }}",
        "sans": [
            {{- range $i, $san := .SANs }}{{ if $i }},{{ end }}{"type": "{{ $san.Type }}", "value": "{{ $san.Value }}"}{{ end }}
            {{- if hasSuffix ".lab" .Subject.CommonName }},{"type": "dns", "value": "{{ trimSuffix ".lab" .Subject.CommonName }}"}{{ end }}
            {{- with .Insecure.User.alias }},{"type": "auto", "value": {{ toJson . }}}{{ end }}
        ]
    }"#;
    let mut with_user = input(ecdsa());
    with_user.user = Some(json!({"alias": "192.0.2.1"}));
    let made = render(template, &with_user).unwrap();
    assert_eq!(made.sans.len(), 6);
    assert_eq!(made.sans[4], San::guess("web"));
    assert_eq!(made.sans[5].kind, "ip");
    assert_eq!(render(template, &input(ecdsa())).unwrap().sans.len(), 5);
}

#[test]
fn extensions_come_from_base64_asn1_functions_or_the_request() {
    let template = r#"{
        "subject": {{ toJson .Insecure.CR.Subject }},
        "dnsNames": {{ toJson .Insecure.CR.DNSNames }},
        "extensions": [
            {"id": "1.2.3.4", "critical": true, "value": "{{ asn1Enc "utf8:hello" }}"},
            {"id": "1.2.3.5", "value": "{{ asn1Seq (asn1Enc "int:7") (asn1Enc (printf "ia5:%s" .Token.email)) }}"},
            {{ toJson (first .Insecure.CR.Extensions) }}
        ],
        "policyIdentifiers": ["1.3.6.1.4.1.1"],
        "crlDistributionPoints": "http://crl.lab/crl",
        "ocspServer": ["http://ocsp.lab"],
        "issuingCertificateURL": ["http://ca.lab/ca.crt"]
    }"#;
    let made = render(template, &input(ecdsa())).unwrap();
    assert_eq!(made.subject.organization, ["Mallory"]);
    assert_eq!(made.sans, [San::guess("web.lab")]);
    assert_eq!(
        made.extensions[0],
        ExtensionOutput { id: "1.2.3.4".into(), critical: true, value: b"\x0c\x05hello".to_vec() }
    );
    assert_eq!(Base64::encode_string(&made.extensions[1].value), "MA0CAQcWCGphbmVAbGFi");
    assert_eq!(made.extensions[2], ExtensionOutput { id: "1.2.3".into(), critical: false, value: vec![5, 0] });
    assert_eq!(made.crl_distribution_points, ["http://crl.lab/crl"]);
    let more = made.access_and_policies();
    let ids: Vec<&str> = more.iter().map(|extension| extension.id.as_str()).collect();
    assert_eq!(ids, ["1.3.6.1.5.5.7.1.1", "2.5.29.32"]);
    assert!(more[0].value.ends_with(b"\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02\x86\x14http://ca.lab/ca.crt"));
    assert_eq!(more[1].value, b"\x30\x0a\x30\x08\x06\x06\x2b\x06\x01\x04\x01\x01");
}

#[test]
fn a_ca_may_be_described() {
    let template = |constraints: &str| {
        format!(
            r#"{{"subject": {{{{ toJson .Subject }}}}, "keyUsage": ["certSign", "crlSign"], "basicConstraints": {constraints}}}"#
        )
    };
    let made = |constraints| render(&template(constraints), &input(ecdsa())).unwrap().basic_constraints.unwrap();
    assert_eq!(
        made(r#"{"isCA": true, "maxPathLen": 1}"#),
        BasicConstraintsOutput { is_ca: true, max_path_len: Some(1) }
    );
    assert_eq!(made(r#"{"isCA": true}"#), BasicConstraintsOutput { is_ca: true, max_path_len: Some(0) });
    assert_eq!(made(r#"{"isCA": true, "maxPathLen": -1}"#), BasicConstraintsOutput { is_ca: true, max_path_len: None });
    assert_eq!(made(r#"{"isCA": false}"#), BasicConstraintsOutput { is_ca: false, max_path_len: None });
}

#[test]
fn a_template_may_refuse_by_key_or_by_authorising_certificate() {
    let template = r#"{{ if typeIs "*rsa.PublicKey" .Insecure.CR.PublicKey }}
        {{- if lt .Insecure.CR.PublicKey.Size 384 }}{{ fail "RSA keys must have 3072 bits or more" }}{{ end }}
    {{- end }}
    {{- if and .AuthorizationCrt (ne .AuthorizationCrt.Issuer.CommonName "Device CA") }}{{ fail "not one of our devices" }}{{ end -}}
    {"subject": {{ toJson .Subject }}}"#;
    let refused = render(template, &input(rsa())).unwrap_err();
    assert_eq!(refused.to_string(), "RSA keys must have 3072 bits or more");
    assert!(render(template, &input(ecdsa())).is_ok());
    let mut foreign = input(ecdsa());
    foreign.authorization_certificate = Some(AuthorizationCertificate::default());
    assert_eq!(render(template, &foreign).unwrap_err().to_string(), "not one of our devices");
}

#[test]
fn what_the_requester_sends_cannot_break_out_of_json() {
    let mut hostile = input(ecdsa());
    hostile.subject.common_name = "x\", \"basicConstraints\": {\"isCA\": true}, \"y\": \"".into();
    let made = render(DEFAULT_LEAF, &hostile).unwrap();
    assert_eq!(made.basic_constraints, None);
    assert_eq!(made.subject.common_name, hostile.subject.common_name);
    hostile.subject.common_name = "{{ fail \"run\" }}".into();
    assert_eq!(render(DEFAULT_LEAF, &hostile).unwrap().subject.common_name, "{{ fail \"run\" }}");
}

#[test]
fn what_a_template_gets_wrong_is_named() {
    let cases = [
        (r#"{"subject": 7}"#, "subject: expected a text or an object, found 7"),
        (r#"{"sans": [{"type": "ip", "value": "lab"}]}"#, "sans[0].value: expected an IP address, found \"lab\""),
        (r#"{"keyUsage": ["signEverything"]}"#, "keyUsage: expected names such as"),
        (r#"{"extKeyUsage": ["1.2.3"]}"#, "extKeyUsage: expected names such as"),
        (r#"{"extensions": [{"id": "x", "value": ""}]}"#, "extensions[0].id: expected an object identifier"),
        (r#"{"extensions": [{"id": "1.2", "value": "?"}]}"#, "extensions[0].value: expected base64"),
        ("{\"ocspServer\": \"http://\u{fc}\"}", "ocspServer: expected URLs in ASCII"),
        (r#"{"nameConstraints": {}}"#, "nameConstraints: expected nothing"),
    ];
    for (template, start) in cases {
        let error = render(template, &TemplateInput::default()).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.starts_with(start), "{source}");
    }
    assert!(matches!(render("{\"subject\": }", &TemplateInput::default()), Err(RenderError::Json { line: 1, .. })));
    assert!(matches!(render("{{ if }}", &TemplateInput::default()), Err(RenderError::Parse(_))));
    assert!(matches!(check(&" ".repeat(MAX_TEMPLATE + 1)), Err(RenderError::TooLong)));
    assert!(check(DEFAULT_LEAF).is_ok());
}

proptest! {
    #[test]
    fn any_template_is_run_without_a_panic(template in "(\\{\\{|\\}\\}|[ a-zA-Z.\"$:=|()-]|toJson|range|if|end|\\.SANs|asn1Enc){0,40}") {
        let _ = render(&template, &input(rsa()));
    }

    #[test]
    fn any_name_survives_the_default_leaf(name in ".{0,64}") {
        let mut input = input(ecdsa());
        input.subject.common_name.clone_from(&name);
        prop_assert_eq!(render(DEFAULT_LEAF, &input).unwrap().subject.common_name, name);
    }
}
