use serde_json::json;

use super::*;

fn config(server: &Value) -> Value {
    json!({"apps": {"http": {"servers": {"srv0": server}}}})
}

fn top() -> Path {
    Path::of(["apps", "http", "servers", "srv0", "routes", "0", "handle", "0"])
}

fn site(listen: &str, host: &str) -> Value {
    json!({"listen": [listen], "routes": [{"match": [{"host": [host]}], "handle": [{"handler": "reverse_proxy"}]}]})
}

#[test]
fn a_plain_server_is_asked_on_its_own_address_with_the_routes_host() {
    let mut server = site(":8080", "a.test");
    server["automatic_https"] = json!({"disable": true});
    let path = derive(&config(&server), &top(), "/health").unwrap();
    assert_eq!(path.to_string(), "http://127.0.0.1:8080/ as a.test");
    let path = derive(&config(&site(":80", "a.test")), &top(), "/health").unwrap();
    assert_eq!(path.to_string(), "http://127.0.0.1:80/ as a.test");
    let server = json!({"listen": ["10.0.0.5:8080"], "routes": [{"handle": [{"handler": "reverse_proxy"}]}]});
    assert_eq!(derive(&config(&server), &top(), "/").unwrap().to_string(), "http://10.0.0.5:8080/");
}

#[test]
fn a_server_with_certificates_is_asked_over_tls_even_when_it_has_the_http_port_too() {
    let path = derive(&config(&site(":443", "*.a.test")), &top(), "/").unwrap();
    assert_eq!(path.tls.as_deref(), Some("lockgate.a.test"));
    let mut server = site(":443", "a.test");
    server["listen"] = json!([":80", ":443"]);
    assert_eq!(
        derive(&config(&server), &top(), "/").unwrap().to_string(),
        "https://127.0.0.1:443/ as a.test"
    );
}

#[test]
fn where_nothing_can_be_asked_the_error_names_the_setting() {
    let nowhere = json!({"listen": ["udp/:53"], "routes": []});
    let nameless = json!({"listen": [":443"], "tls_connection_policies": [{}], "routes": []});
    for server in [nowhere, nameless] {
        let error = derive(&config(&server), &top(), "/").unwrap_err();
        assert_eq!(error.kind, FailureKind::Refused);
        assert!(error.hints().to_string().contains("router.caddy.ask"));
    }
}

#[test]
fn a_stripped_prefix_is_put_before_what_is_asked_and_other_paths_are_refused() {
    let server = json!({"listen": [":80"], "routes": [{
        "match": [{"host": ["a.test"], "path": ["/api/*"]}],
        "handle": [{"handler": "subroute", "routes": [{"handle": [
            {"handler": "rewrite", "strip_path_prefix": "/api"},
            {"handler": "reverse_proxy"},
        ]}]}],
    }]});
    let inner = top().join("routes").join("0").join("handle").join("1");
    let path = derive(&config(&server), &inner, "/health?x=1").unwrap();
    assert_eq!((path.prefix.as_str(), path.host.as_deref()), ("/api", Some("a.test")));

    let server = json!({"listen": [":80"], "routes": [{
        "match": [{"path": ["/api/*"]}], "handle": [{"handler": "reverse_proxy"}],
    }]});
    assert!(derive(&config(&server), &top(), "/api/health").is_ok());
    let error = derive(&config(&server), &top(), "/health").unwrap_err();
    assert!(error.message.contains("/api/*"), "{error}");
}
