//! A `ca.json` that `step ca init` wrote, read, edited and spoilt.

use jiff::SignedDuration;
use keywheel_core::names::{self, Names};
use keywheel_core::provisioner::{AfterRekey, ProvisionerKind, RekeyPolicy, TemplateSource};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{CaJson, CaJsonError, PolicySide, rekey_settings};
use crate::pkcs11::uri::Pin;

/// As the reference's `ca init` writes it, with tabs and without a newline at the end.
const FROM_STEP: &str = r#"{
	"root": "/etc/step/certs/root_ca.crt",
	"federatedRoots": null,
	"crt": "/etc/step/certs/intermediate_ca.crt",
	"key": "/etc/step/secrets/intermediate_ca_key",
	"address": ":9443",
	"insecureAddress": "",
	"dnsNames": [
		"ca.lab"
	],
	"ssh": {
		"hostKey": "/etc/step/secrets/ssh_host_ca_key",
		"userKey": "/etc/step/secrets/ssh_user_ca_key"
	},
	"logger": {
		"format": "text"
	},
	"db": {
		"type": "badgerv2",
		"dataSource": "/etc/step/db",
		"badgerFileLoadingMode": ""
	},
	"authority": {
		"provisioners": [
			{
				"type": "JWK",
				"name": "admin",
				"key": {
					"use": "sig",
					"kty": "EC",
					"kid": "7oRabIl8pkYiCHotJ1GvuUHqFoLyXKUjcKXywwEt6F0",
					"crv": "P-256",
					"alg": "ES256",
					"x": "8mIWTGizVV9pUye89ngDwwHap9d6iisJaGayZZdF9aM",
					"y": "oOug_b5bvn3zBl64PyN2xDRQ8jvslel6IK49BSkxNgw"
				},
				"encryptedKey": "e.e.e.e.e",
				"claims": {
					"enableSSHCA": true
				}
			},
			{
				"type": "SSHPOP",
				"name": "sshpop",
				"claims": {
					"enableSSHCA": true
				}
			}
		]
	},
	"tls": {
		"cipherSuites": [
			"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
		],
		"minVersion": 1.2,
		"maxVersion": 1.3,
		"renegotiation": false
	},
	"templates": {
		"ssh": {}
	},
	"somethingNew": {
		"z": 1,
		"a": 2
	}
}"#;

fn from_step() -> CaJson {
    CaJson::parse(FROM_STEP).unwrap()
}

/// The file with one more change, made on its JSON.
fn with(change: impl FnOnce(&mut Value)) -> CaJson {
    let mut document: Value = serde_json::from_str(FROM_STEP).unwrap();
    change(&mut document);
    CaJson::from_document(document.as_object().unwrap().clone())
}

fn with_provisioner(field: &str, value: Value) -> CaJson {
    with(|document| document["authority"]["provisioners"][0][field] = value)
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn what_step_wrote_is_written_back_byte_for_byte() {
    assert_eq!(from_step().to_text(), format!("{FROM_STEP}\n"));
}

#[test]
fn the_settings_of_step_are_read() {
    let settings = from_step().settings().unwrap();
    assert_eq!(settings.roots, ["/etc/step/certs/root_ca.crt"]);
    assert_eq!(settings.address, ":9443");
    assert_eq!(settings.insecure_address, None);
    assert_eq!(settings.dns_names, ["ca.lab"]);
    assert_eq!(settings.database.unwrap().kind, "badgerv2");
    assert_eq!(settings.ssh.unwrap().host_key.as_deref(), Some("/etc/step/secrets/ssh_host_ca_key"));
    assert_eq!(settings.backdate, SignedDuration::from_mins(1));
    assert_eq!((settings.tls.min_version, settings.tls.max_version), (1.2, 1.3));
    assert_eq!(settings.common_name, "Step Online CA");
    assert!(!settings.crl.enabled);
    assert_eq!(settings.keywheel.database, None);
}

#[test]
fn every_other_setting_is_read() {
    let settings = with(|document| {
        document["root"] = json!(["a", "b"]);
        document["federatedRoots"] = json!(["c"]);
        document["insecureAddress"] = json!(":80");
        document["metricsAddress"] = json!(":9090");
        document["commonName"] = json!("Our CA");
        document["password"] = json!("hidden");
        document["kms"] = json!({"type": "PKCS11", "uri": "pkcs11:token=x", "pin": "1234"});
        document["key"] = json!("pkcs11:id=7331;object=intermediate-key");
        document["crl"] = json!({"enabled": true, "generateOnRevoke": true, "cacheDuration": "24h0m0s", "renewPeriod": "16h", "idpURL": "http://x/crl"});
        document["keywheel"] = json!({"database": "sqlite:/var/lib/kw.db", "other": 1});
        document["ssh"]["keys"] = json!([{"type": "Host", "federated": true, "key": {"kty": "EC"}}]);
        let authority = &mut document["authority"];
        authority["backdate"] = json!("30s");
        authority["authorityId"] = json!("id");
        authority["disableIssuedAtCheck"] = json!(true);
        authority["template"] = json!({"organization": "Lab", "country": "DE"});
        authority["claims"] = json!({"maxTLSCertDuration": "48h", "disableRenewal": true});
    })
    .settings()
    .unwrap();
    assert_eq!(settings.roots, ["a", "b"]);
    assert_eq!(settings.federated_roots, ["c"]);
    assert_eq!(settings.common_name, "Our CA");
    let kms = settings.kms.unwrap();
    assert_eq!((kms.kind.as_str(), kms.token.unwrap().to_string()), ("pkcs11", "pkcs11:token=x".to_owned()));
    let key = settings.key_in_token.unwrap();
    assert_eq!(key.to_string(), "pkcs11:token=x;id=7331;object=intermediate-key");
    assert_eq!(key.pin, Some(Pin::Value(Zeroizing::new("1234".to_owned()))));
    assert!(settings.crl.enabled && settings.crl.generate_on_revoke);
    assert_eq!(settings.crl.renew_period, Some(SignedDuration::from_hours(16)));
    assert_eq!(settings.keywheel.database.as_deref().map(String::as_str), Some("sqlite:/var/lib/kw.db"));
    assert_eq!(settings.keywheel.other["other"], 1);
    assert_eq!(settings.backdate, SignedDuration::from_secs(30));
    assert_eq!(settings.subject_defaults.organization.as_deref(), Some("Lab"));
    assert_eq!(settings.claims.max_tls_duration, Some(SignedDuration::from_hours(48)));
    assert_eq!(settings.claims.disable_renewal, Some(true));
    assert!(settings.disable_issued_at_check);
    let ssh = settings.ssh.unwrap();
    assert_eq!((ssh.keys[0].kind.as_str(), ssh.keys[0].federated), ("host", true));
}

#[test]
fn the_provisioners_of_step_are_read() {
    let read = from_step().provisioners().unwrap();
    assert_eq!(read.len(), 2);
    let admin = &read[0].provisioner;
    assert_eq!(admin.id(), "admin:7oRabIl8pkYiCHotJ1GvuUHqFoLyXKUjcKXywwEt6F0");
    assert!(matches!(&admin.kind, ProvisionerKind::Jwk { encrypted_key: Some(key), .. } if key == "e.e.e.e.e"));
    assert_eq!(admin.claims.enable_ssh_ca, Some(true));
    assert_eq!(admin.rekey, RekeyPolicy::default());
    assert_eq!(read[1].provisioner.kind, ProvisionerKind::Sshpop);
    assert_eq!(read[0].object["encryptedKey"], "e.e.e.e.e");
}

#[test]
fn types_are_matched_without_case_and_unknown_ones_are_kept() {
    let read = with(|document| {
        document["authority"]["provisioners"][0]["type"] = json!("jwk");
        document["authority"]["provisioners"][1] = json!({"type": "Quantum", "name": "q", "whatever": [1]});
    })
    .provisioners()
    .unwrap();
    assert_eq!(read[0].provisioner.kind.type_name(), "JWK");
    assert_eq!(read[1].provisioner.kind, ProvisionerKind::Other { type_name: "Quantum".into() });
    assert_eq!(read[1].object["whatever"], json!([1]));
}

#[test]
fn a_template_may_be_text_base64_or_a_file() {
    let template = |x509: Value| {
        let file = with_provisioner("options", json!({"x509": x509}));
        file.provisioners().unwrap().remove(0).provisioner
    };
    let text = "{\n  \"subject\": {{ toJson .Subject }}\n}";
    let inline = TemplateSource::Inline(text.to_owned());
    assert_eq!(template(json!({"template": text})).x509_template, Some(inline.clone()));
    use base64ct::{Base64, Encoding};
    let encoded = Base64::encode_string(text.as_bytes());
    assert_eq!(template(json!({"template": encoded})).x509_template, Some(inline));
    let file = template(json!({"templateFile": "templates/leaf.tpl", "templateData": {"Unit": "ops"}}));
    assert_eq!(file.x509_template, Some(TemplateSource::File("templates/leaf.tpl".into())));
    assert_eq!(file.x509_template_data.as_deref(), Some(r#"{"Unit":"ops"}"#));
    assert_eq!(template(json!({})).x509_template, None);
}

#[test]
fn our_settings_of_a_provisioner_are_read_and_not_shown_to_clients() {
    let own = json!({"afterRekey": "revokeAfterOverlap", "overlap": "24h", "policy": {"deny": {"dns": ["bad.lab"]}}});
    let read = with_provisioner("keywheel", own).provisioners().unwrap().remove(0);
    assert_eq!(read.provisioner.rekey.after, AfterRekey::RevokeAfterOverlap(SignedDuration::from_hours(24)));
    assert!(!read.object.contains_key("keywheel"));
    let names = |name: &str| Names { dns: vec![name.into()], ..Names::default() };
    assert!(names::check(&read.provisioner.name_policy, &names("bad.lab")).is_err());
    assert!(names::check(&read.provisioner.name_policy, &names("good.lab")).is_ok());
}

#[test]
fn each_rekey_rule_survives_being_written_and_read() {
    for after in [
        AfterRekey::OldStays,
        AfterRekey::RevokeAfterOverlap(SignedDuration::from_mins(90)),
        RekeyPolicy::RECOMMENDED.after,
    ] {
        let settings = Value::Object(rekey_settings(RekeyPolicy { after }));
        let read = with_provisioner("keywheel", settings).provisioners().unwrap();
        assert_eq!(read[0].provisioner.rekey.after, after);
    }
}

#[test]
fn an_error_names_the_provisioner_and_the_field() {
    let cases = [
        (
            with_provisioner("claims", json!({"minTLSCertDuration": "5x"})),
            r#"ca.json: authority.provisioners[0] (JWK "admin").claims.minTLSCertDuration: expected a duration such as "24h" or "5m30s", found "5x"; correct"#,
        ),
        (
            with_provisioner("key", json!({"kty": "EC"})),
            r#"ca.json: authority.provisioners[0] (JWK "admin").key: expected a public key as JWK, found the JWK's field 'crv'"#,
        ),
        (with_provisioner("key", Value::Null), r#"ca.json: authority.provisioners[0] (JWK "admin").key is missing"#),
        (with_provisioner("name", json!("")), "ca.json: authority.provisioners[0].name is missing"),
        (
            with_provisioner("claims", json!({"minTLSCertDuration": "48h"})),
            r#"ca.json: authority.provisioners[0] (JWK "admin").claims: expected durations above zero"#,
        ),
        (
            with_provisioner("keywheel", json!({"afterRekey": "never"})),
            r#"ca.json: authority.provisioners[0] (JWK "admin").keywheel.afterRekey: expected "stays""#,
        ),
        (
            with_provisioner("keywheel", json!({"afterRekey": "revokeAfterOverlap"})),
            r#"ca.json: authority.provisioners[0] (JWK "admin").keywheel.overlap is missing"#,
        ),
        (
            with(|document| {
                document["authority"]["provisioners"][1] = json!({"type": "X5C", "name": "x", "roots": "AAAA"})
            }),
            r#"ca.json: authority.provisioners[1] (X5C "x").roots: expected PEM certificates in base64"#,
        ),
    ];
    for (file, start) in cases {
        let message = file.provisioners().unwrap_err().to_string();
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn an_error_in_a_setting_names_the_field() {
    type Spoil = fn(&mut Value);
    let cases: [(Spoil, &str); 9] = [
        (|d| d["dnsNames"] = json!(7), "ca.json: dnsNames: expected a text or a list of texts, found 7"),
        (|d| d["crt"] = json!(""), "ca.json: crt is missing"),
        (|d| d["tls"]["minVersion"] = json!(3), "ca.json: tls.minVersion: expected 1.2 or 1.3, found 3"),
        (|d| d["crl"] = json!({"cacheDuration": 5}), "ca.json: crl.cacheDuration: expected a duration"),
        (
            |d| d["crl"] = json!({"cacheDuration": "1h", "renewPeriod": "2h"}),
            "ca.json: crl.renewPeriod: expected a duration not above",
        ),
        (|d| d["authority"]["backdate"] = json!("-1m"), "ca.json: authority.backdate: expected"),
        (|d| d["ssh"]["keys"] = json!([{"type": "x"}]), "ca.json: ssh.keys[0].type: expected"),
        (
            |d| d["authority"]["claims"] = json!({"defaultTLSCertDuration": "0s"}),
            "ca.json: authority.claims.defaultTLSCertDuration: expected",
        ),
        (|d| d["keywheel"] = json!({"database": "mysql://root:hidden@x"}), "ca.json: keywheel.database: expected"),
    ];
    for (spoil, start) in cases {
        let message = with(spoil).settings().unwrap_err().to_string();
        assert!(message.starts_with(start), "{message}");
        assert!(!message.contains("hidden"));
    }
}

#[test]
fn an_error_in_the_name_of_a_token_or_key_never_shows_the_pin() {
    let cases = [
        (json!({"type": "pkcs11"}), "pkcs11:id=1", "kms.uri is missing"),
        (json!({"type": "pkcs11", "uri": "pkcs11:tokn=secret"}), "pkcs11:id=1", "kms.uri: expected the PKCS#11 URI"),
        (json!({"uri": "pkcs11:token=a?pin-value=secret&secret=1"}), "pkcs11:id=1", "after its '?'"),
        (
            json!({"type": "pkcs11", "uri": "pkcs11:token=a", "pin": ["secret"]}),
            "pkcs11:id=1",
            "kms.pin: expected a text",
        ),
        (json!({"type": "pkcs11", "uri": "pkcs11:token=a"}), "/secret/key", "key: expected the PKCS#11 URI of a key"),
        (
            json!({"type": "pkcs11", "uri": "pkcs11:token=a"}),
            "pkcs11:token=a?pin-value=secret",
            "key: expected the PKCS#11",
        ),
        (json!({"type": "pkcs11", "uri": "pkcs11:token=a"}), "pkcs11:token=b;id=1", "its token is another than"),
        (json!({"type": "softkms"}), "pkcs11:id=1?pin-value=secret", "kms: expected an object"),
        (Value::Null, "pkcs11:id=1?pin-value=secret", "kms is missing"),
    ];
    for (kms, key, expected) in cases {
        let file = with(|document| {
            document["kms"] = kms.clone();
            document["key"] = json!(key);
        });
        let error = file.validate().unwrap_err().to_string();
        assert!(error.contains(expected), "{kms} {key}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn two_provisioners_that_cannot_be_told_apart_are_refused() {
    let file = with(|document| {
        let first = document["authority"]["provisioners"][0].clone();
        document["authority"]["provisioners"][1] = first;
    });
    assert!(matches!(file.provisioners(), Err(CaJsonError::DuplicateProvisioner(_))));
}

#[test]
fn a_provisioner_is_added_updated_and_removed_and_the_rest_stays_as_it_was() {
    let mut file = from_step();
    file.add_provisioner(object(json!({"type": "SSHPOP", "name": "second"}))).unwrap();
    assert_eq!(file.provisioners().unwrap().len(), 3);
    file.update_provisioner("second", None, |own| {
        own.insert("claims".into(), json!({"maxTLSCertDuration": "72h"}));
    })
    .unwrap();
    let claims = file.provisioners().unwrap()[2].provisioner.claims.clone();
    assert_eq!(claims.max_tls_duration, Some(SignedDuration::from_hours(72)));
    file.remove_provisioner("second", Some("sshpop")).unwrap();
    assert_eq!(file, from_step());
}

#[test]
fn a_change_that_would_spoil_the_file_is_not_made() {
    let mut file = from_step();
    let spoilt = file.update_provisioner("admin", None, |own| {
        own.insert("claims".into(), json!({"maxTLSCertDuration": "soon"}));
    });
    assert!(spoilt.is_err());
    assert!(matches!(
        file.add_provisioner(object(json!({"type": "jwk", "name": "admin"}))),
        Err(CaJsonError::ProvisionerExists(_))
    ));
    assert!(file.add_provisioner(object(json!({"type": "JWK", "name": "keyless"}))).is_err());
    assert!(matches!(file.remove_provisioner("nobody", None), Err(CaJsonError::NoSuchProvisioner(_))));
    file.set_keywheel("database", json!("sqlite:x")).unwrap();
    assert!(file.remove_policy().is_err());
    let expected = with(|document| document["keywheel"] = json!({"database": "sqlite:x"}));
    assert_eq!(file, expected);
}

#[test]
fn policy_rules_are_added_and_removed() {
    let mut file = from_step();
    let rules = ["*.lab".to_owned()];
    file.add_policy_rules(PolicySide::Allow, "dns", &rules).unwrap();
    file.add_policy_rules(PolicySide::Allow, "dns", &rules).unwrap();
    assert_eq!(file.policy_rules(PolicySide::Allow, "dns").unwrap(), rules);
    let names = |name: &str| Names { dns: vec![name.into()], ..Names::default() };
    assert!(names::check(&file.policy().unwrap(), &names("a.lab")).is_ok());
    assert!(names::check(&file.policy().unwrap(), &names("a.other")).is_err());
    assert!(file.add_policy_rules(PolicySide::Deny, "ip", &["not an address".into()]).is_err());
    assert!(file.remove_policy_rules(PolicySide::Deny, "dns", &rules).is_err());
    file.set_policy_wildcards(true).unwrap();
    file.remove_policy_rules(PolicySide::Allow, "dns", &rules).unwrap();
    assert_eq!(file.policy_rules(PolicySide::Allow, "dns").unwrap(), Vec::<String>::new());
    file.remove_policy().unwrap();
    assert_eq!(file, from_step());
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,300}") {
        if let Ok(file) = CaJson::parse(&text) {
            let _ = file.validate();
        }
    }

    #[test]
    fn any_value_in_any_field_is_judged_without_a_panic(field in 0..24usize, value in values()) {
        const FIELDS: [&str; 24] = [
            "/root", "/federatedRoots", "/crt", "/key", "/address", "/dnsNames", "/kms", "/ssh", "/logger", "/db", "/authority",
            "/tls", "/password", "/commonName", "/crl", "/keywheel", "/authority/provisioners", "/authority/claims",
            "/authority/policy", "/authority/provisioners/0", "/authority/provisioners/0/key", "/authority/provisioners/0/claims",
            "/authority/provisioners/0/options", "/authority/provisioners/0/keywheel",
        ];
        let mut document: Value = serde_json::from_str(FROM_STEP).unwrap();
        let (parent, name) = FIELDS[field].rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(entries) => entries[0] = value,
            Value::Object(members) => { members.insert(name.to_owned(), value); }
            _ => unreachable!(),
        }
        let file = CaJson::from_document(document.as_object().unwrap().clone());
        let _ = file.validate();
        prop_assert_eq!(CaJson::parse(&file.to_text()).unwrap(), file);
    }
}

/// JSON values whose members have names that the file knows.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9.:-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let names = prop::sample::select(vec![
            "x509",
            "allow",
            "deny",
            "dns",
            "ip",
            "template",
            "templateData",
            "type",
            "name",
            "key",
            "keys",
            "kty",
            "crv",
            "x",
            "y",
            "minTLSCertDuration",
            "policy",
            "afterRekey",
            "overlap",
            "enabled",
            "cacheDuration",
            "minVersion",
            "roots",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..5).prop_map(|members| Value::Object(
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}
