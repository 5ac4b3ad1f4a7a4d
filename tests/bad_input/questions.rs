//! Questions without a body: fingerprints, cursors, key ids, methods and paths that are not there.

use crate::{Case, Judge};

#[test]
fn what_is_not_there_is_not_found() {
    let mut judge = Judge::new();
    let zeros = format!("/root/{}", "0".repeat(64));
    let long = format!("/root/{}", "a".repeat(6000));
    for path in
        [zeros.as_str(), long.as_str(), "/root/x", "/root/%00", "/root/..%2f..%2fsecrets%2froot_ca_key", "/root/%ff"]
    {
        judge.ask(&Case::get(path, 404, "was not found"));
    }
    for path in
        ["/provisioners/x/encrypted-key", "/provisioners/%00/encrypted-key", "/provisioners/..%2f/encrypted-key"]
    {
        judge.ask(&Case::get(path, 404, "could not be found"));
    }
    for path in [
        "/no-such-route",
        "/sign/",
        "/rekey/x",
        "/root",
        "/root/",
        "/provisioners/x",
        "/.env",
        "/admin/provisioners",
        "/../secrets",
    ] {
        judge.ask(&Case::get(path, 404, "404 page not found"));
    }
    judge.judge(36);
}

#[test]
fn a_method_that_a_route_does_not_know_is_said_to_be_so() {
    let mut judge = Judge::new();
    for path in ["/sign", "/renew", "/rekey", "/revoke"] {
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            judge.ask(&Case { method, ..Case::post(path, method, "{}", 405, "") });
        }
    }
    for path in
        ["/health", "/version", "/roots", "/roots.pem", "/intermediates", "/federation", "/provisioners", "/crl"]
    {
        for method in ["POST", "DELETE"] {
            judge.ask(&Case { method, ..Case::post(path, method, "{}", 405, "") });
        }
    }
    judge.judge(64);
}

#[test]
fn a_page_size_that_is_no_number_is_a_bad_request() {
    let mut judge = Judge::new();
    for path in [
        "/provisioners?limit=x",
        "/provisioners?limit=1.5",
        "/provisioners?limit=99999999999999999999",
        "/provisioners?limit=%00",
    ] {
        judge.ask(&Case::get(path, 400, "The request could not be completed: "));
    }
    judge.judge(8);
}
