//! The real import program as a process, fetching over HTTP from loopback and from a store in a folder.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use common::{World, program};
use uuid::Uuid;
use varve_format::records::ImportResults;
use varve_store::ContentRef;

/// Less than a user gets, so that it is soon passed.
const MAX_UNANNOUNCED_BYTES: usize = 1 << 20;

/// Serves one fixed answer for each path, for as long as the test lives.
fn serve(answers: &'static [(&'static str, &'static str)]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                request.push(byte[0]);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let path = request.split([' ', '?']).nth(1).unwrap_or_default();
            let answer = answers
                .iter()
                .find(|(known, _)| *known == path)
                .map_or("404 Not Found\r\ncontent-length: 0\r\n\r\n", |(_, answer)| answer);
            // One answer a connection, and said so: a client that kept it would be reset on its next request.
            let (status, rest) = answer.split_once("\r\n").unwrap();
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nconnection: close\r\n{rest}").as_bytes());
        }
    });
    address
}

struct Imported {
    code: Option<i32>,
    reason: String,
    message: String,
    results: Option<ImportResults>,
}

async fn import(world: &World, wanted: serde_json::Value) -> Imported {
    let commit = Uuid::now_v7();
    let list = world.store.put_fetch_list(commit, wanted.to_string().into()).await.unwrap();
    let log = world.path("termination");
    let output = Command::new(program())
        .arg("import")
        .env("VARVE_IMPORT_MAX_UNANNOUNCED_BYTES", MAX_UNANNOUNCED_BYTES.to_string())
        .env("VARVE_IMPORT", list.to_string())
        .env("VARVE_JOB_UID", commit.to_string())
        .env("VARVE_POD_UID", Uuid::now_v7().to_string())
        .env("VARVE_STORE", world.path("secret"))
        .env("VARVE_IMPORT_SECRETS", world.path("import-secrets"))
        .env("VARVE_ALLOW_LOCAL_STORES", "true")
        .env("VARVE_TERMINATION_LOG", &log)
        .output()
        .unwrap();
    let words: varve_worker::termination::Termination =
        serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    let results = world.store.get_import(commit).await.unwrap();
    Imported { code: output.status.code(), reason: words.reason, message: words.message, results }
}

async fn text(world: &World, results: &ImportResults, path: &str) -> String {
    let edit = results.edits.iter().find(|edit| edit.path == path).unwrap();
    world.text(&ContentRef::try_from(edit.content.as_ref().unwrap()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_are_fetched_through_redirects_and_recorded_in_the_commit_s_order() {
    let address = serve(&[
        ("/b.txt", "200 OK\r\ncontent-length: 5\r\n\r\nbytes"),
        ("/moved", "302 Found\r\nlocation: /b.txt\r\ncontent-length: 0\r\n\r\n"),
    ]);
    let world = World::with(&[]).await;
    let wanted = serde_json::json!([
        {"path": "/z/first.txt", "url": format!("http://{address}/moved")},
        {"path": "/second.txt", "url": format!("http://{address}/b.txt")},
    ]);
    let imported = import(&world, wanted).await;
    assert_eq!((imported.code, imported.reason.as_str()), (Some(0), "Imported"), "{}", imported.message);
    let results = imported.results.unwrap();
    assert_eq!(results.edits.iter().map(|edit| edit.path.as_str()).collect::<Vec<_>>(), ["z/first.txt", "second.txt"]);
    assert_eq!(text(&world, &results, "z/first.txt").await, "bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_fetched_says_why_and_is_not_tried_again() {
    let address = serve(&[
        ("/loop", "302 Found\r\nlocation: /loop\r\ncontent-length: 0\r\n\r\n"),
        ("/metadata", "302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n"),
        ("/file", "302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n"),
        ("/private", "403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
    ]);
    let world = World::with(&[]).await;
    let cases = [
        (format!("http://{address}/nothing"), "UrlNotFound", "404"),
        (format!("http://{address}/private"), "UrlRefused", "403"),
        (format!("http://{address}/loop"), "UrlRefused", "more than 5 redirects"),
        (format!("http://{address}/metadata"), "UrlRefused", "link-local"),
        (format!("http://{address}/file"), "UrlRefused", "must begin with http"),
        ("http://169.254.169.254/latest/meta-data".to_owned(), "UrlRefused", "link-local"),
        ("ftp://example.org/a".to_owned(), "UrlRefused", "must begin with http"),
    ];
    for (url, reason, why) in cases {
        let imported = import(&world, serde_json::json!([{"path": "/a", "url": url}])).await;
        assert_eq!((imported.code, imported.reason.as_str()), (Some(41), reason), "{url}: {}", imported.message);
        assert!(imported.message.contains(&url) && imported.message.contains(why), "{}", imported.message);
        assert!(imported.results.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_shorter_than_announced_is_no_file() {
    let address = serve(&[("/short", "200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nonly this")]);
    let world = World::with(&[]).await;
    let imported = import(&world, serde_json::json!([{"path": "/a", "url": format!("http://{address}/short")}])).await;
    assert_eq!((imported.code, imported.reason.as_str()), (Some(75), "UrlUnreachable"), "{}", imported.message);
    assert!(imported.message.contains("/short") && imported.results.is_none(), "{}", imported.message);
}

/// Answers with a body in chunks of 64 KiB, so many of them, or for ever.
fn serve_chunks(chunks: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let mut send = |bytes: &[u8]| stream.write_all(bytes).is_ok();
        let chunk = ["10000\r\n", &"x".repeat(0x10000), "\r\n"].concat();
        let begun = send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n");
        if begun && (0..chunks).all(|_| send(chunk.as_bytes())) {
            send(b"0\r\n\r\n");
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_without_end_is_given_up_and_one_without_a_length_is_fetched() {
    let world = World::with(&[]).await;
    let url = format!("http://{}/log", serve_chunks(usize::MAX));
    let endless = import(&world, serde_json::json!([{"path": "/a", "url": url}])).await;
    assert_eq!((endless.code, endless.reason.as_str()), (Some(41), "TooLarge"), "{}", endless.message);
    let said = "the server does not say how long it is, and went on after 1048576 bytes";
    assert!(endless.message.contains(&url) && endless.message.contains(said), "{}", endless.message);
    assert!(endless.results.is_none());

    let url = format!("http://{}/log", serve_chunks(MAX_UNANNOUNCED_BYTES / 0x10000));
    let imported = import(&world, serde_json::json!([{"path": "/a", "url": url}])).await;
    assert_eq!((imported.code, imported.reason.as_str()), (Some(0), "Imported"), "{}", imported.message);
    assert_eq!(text(&world, &imported.results.unwrap(), "a").await.len(), MAX_UNANNOUNCED_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_no_file_may_have_is_refused_before_it_is_fetched() {
    let address = serve(&[("/huge", "200 OK\r\ncontent-length: 999999999999\r\n\r\n")]);
    let world = World::with(&[]).await;
    let imported = import(&world, serde_json::json!([{"path": "/a", "url": format!("http://{address}/huge")}])).await;
    assert_eq!((imported.code, imported.reason.as_str()), (Some(41), "TooLarge"), "{}", imported.message);
    assert!(imported.message.contains("announced 999999999999 bytes"), "{}", imported.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_or_all_below_a_prefix_is_fetched_and_an_illegal_key_is_named() {
    let world = World::with(&[]).await;
    let field = world.path("field");
    fs::create_dir_all(field.join("2026/deep")).unwrap();
    fs::write(field.join("2026/a.txt"), "a").unwrap();
    fs::write(field.join("2026/deep/b.txt"), "b").unwrap();
    fs::write(field.join("2027.txt"), "other").unwrap();
    let url = |rest: &str| format!("file://{}/{rest}", field.display());
    let wanted = serde_json::json!([{"path": "/in", "objectStore": {"url": url("2026/")}}]);
    let imported = import(&world, wanted).await;
    assert_eq!((imported.code, imported.reason.as_str()), (Some(0), "Imported"), "{}", imported.message);
    let results = imported.results.unwrap();
    assert_eq!(results.edits.iter().map(|edit| edit.path.as_str()).collect::<Vec<_>>(), ["in/a.txt", "in/deep/b.txt"]);
    assert_eq!(text(&world, &results, "in/deep/b.txt").await, "b");

    let none = import(&world, serde_json::json!([{"path": "/in", "objectStore": {"url": url("nothing/")}}])).await;
    assert_eq!((none.code, none.reason.as_str()), (Some(41), "ObjectNotFound"), "{}", none.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_cannot_be_right_is_refused_before_anything_is_fetched() {
    let world = World::with(&[]).await;
    for (wanted, reason) in [
        (serde_json::json!([{"path": "no-slash", "url": "http://localhost/"}]), "InvalidPath"),
        (serde_json::json!([{"path": "/a"}]), "ImportInvalid"),
        (serde_json::json!({"not": "a list"}), "ImportInvalid"),
    ] {
        let imported = import(&world, wanted).await;
        assert_eq!((imported.code, imported.reason.as_str()), (Some(41), reason), "{}", imported.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_long_urls_and_dollars_in_paths_are_fetched_as_they_stand() {
    let signature = "s".repeat(2_000);
    let address = serve(&[("/a", "200 OK\r\ncontent-length: 1\r\n\r\na")]);
    let world = World::with(&[]).await;
    let url = format!("http://{address}/a?signature={signature}");
    let paths: Vec<String> = (0..100).map(|n| format!("/$$/$(VARVE_JOB_UID)/{n:03}")).collect();
    let wanted: Vec<_> = paths.iter().map(|path| serde_json::json!({"path": path, "url": url})).collect();
    assert!(serde_json::to_string(&wanted).unwrap().len() > 128 << 10, "more than Linux lets one variable hold");
    let imported = import(&world, wanted.into()).await;
    assert_eq!((imported.code, imported.reason.as_str()), (Some(0), "Imported"), "{}", imported.message);
    let fetched: Vec<String> = imported.results.unwrap().edits.iter().map(|edit| format!("/{}", edit.path)).collect();
    assert_eq!(fetched, paths);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_secret_can_neither_read_the_pod_s_files_nor_ask_a_metadata_service() {
    let world = World::with(&[]).await;
    let put = serde_json::json!([{"path": "/in", "objectStore": {"url": "az://c/p/", "secretName": "field"}}]);
    let secret = world.path("import-secrets/field");
    for (keys, reason, why) in [
        (
            [
                ("federated_token_file", "/var/run/varve/store/aws_secret_access_key"),
                ("client_id", "a"),
                ("tenant_id", "b"),
            ],
            "ImportInvalid",
            "key `federated_token_file` may not stand",
        ),
        (
            [("azure_storage_endpoint", "http://169.254.169.254/"), ("account_name", "a"), ("allow_http", "true")],
            "UrlRefused",
            "169.254.169.254: link-local",
        ),
    ] {
        let _ = fs::remove_dir_all(&secret);
        fs::create_dir_all(&secret).unwrap();
        for (key, value) in keys {
            fs::write(secret.join(key), value).unwrap();
        }
        let imported = import(&world, put.clone()).await;
        assert_eq!((imported.code, imported.reason.as_str()), (Some(41), reason), "{}", imported.message);
        assert!(imported.message.contains(why), "{}", imported.message);
    }
}
