//! What a client can send byte by byte, and how it can leave: told over bare sockets, since clients tidy up what they send.

use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use witgate::case::Digest;
use witgate_tests::{ALIAS, LocalDoor, PATIENCE, World, components, door_path};

use super::{kept, serves_the_next};

/// An answer as it came.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

async fn connected(door: &LocalDoor) -> TcpStream {
    TcpStream::connect(door.host()).await.unwrap()
}

/// Sends these bytes on a connection of their own, and reads to its end.
async fn raw(door: &LocalDoor, bytes: &[u8]) -> Vec<Answer> {
    let mut stream = connected(door).await;
    // Whoever refuses may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut text = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the connection is never ended");
    if let Err(error) = read {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    answers(&text)
}

/// The answers one behind the other, each with its `Content-Length`.
fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8(bytes[..at].to_vec()).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        let body = bytes[at + 4..].get(..length).unwrap_or_default().to_vec();
        bytes = &bytes[(at + 4 + body.len()).min(bytes.len())..];
        answers.push(Answer { status, head, body });
    }
    assert!(bytes.is_empty(), "more than answers: {}", String::from_utf8_lossy(bytes));
    answers
}

async fn one(door: &LocalDoor, request: &str) -> Answer {
    let mut answers = raw(door, request.as_bytes()).await;
    assert_eq!(answers.len(), 1, "`{}` has {} answers", request.escape_debug(), answers.len());
    answers.remove(0)
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn case_21_a20_1_targets_that_a_proxy_might_read_otherwise_lead_nowhere() {
    let world = World::behind_the_door(|_| {}).await;
    let pushed = world.publish("paths", components::command("paths\n")).await;
    let door = world.local_door("local").await;
    let good = format!("/v2/{ALIAS}/demo/paths/manifests/1.0");
    let served = one(&door, &get(&good)).await;
    assert_eq!((served.status, &served.body[..]), (200, &pushed.manifest_bytes[..]));
    let (asked, size) = (world.deployment.registry.requests().len(), world.log_size().await);
    for target in [
        format!("/v2/{ALIAS}/demo/paths/manifests/%31.0"),
        format!("/v2/{ALIAS}/demo/paths/manifests%2f1.0"),
        format!("/v2/{ALIAS}/demo/paths%00/manifests/1.0"),
        format!("/v2/{ALIAS}/demo/paths/manifests/1.0%00"),
        format!("/v2/{ALIAS}/demo/paths/manifests/1.0%0d%0aX:%201"),
        format!("/v2/{ALIAS}/demo\\paths/manifests/1.0"),
        format!("/v2/{ALIAS}/demo/..%5cpaths/manifests/1.0"),
        format!("/v2/{ALIAS}/demo/paths;v=1/manifests/1.0"),
        format!("/v2/{ALIAS}/demo/paths/manifests/1.0;v=1"),
        format!("/v2/{ALIAS}/demo/./paths/manifests/1.0"),
        format!("/v2/./{ALIAS}/demo/paths/manifests/1.0"),
        format!("/v2/{ALIAS}/demo/other/../paths/manifests/1.0"),
        format!("/v2/{ALIAS}/demo/paths/manifests/../manifests/1.0"),
        format!("/v2/../v2/{ALIAS}/demo/paths/manifests/1.0"),
        format!("/v2/%2e%2e/v2/{ALIAS}/demo/paths/manifests/1.0"),
        format!("/v2/{ALIAS}/demo/%c0%ae%c0%ae/paths/manifests/1.0"),
        format!("/v2/{ALIAS}/demo/paths/manifests/1.0//"),
        format!("/V2/{ALIAS}/demo/paths/manifests/1.0"),
        format!("/v2/{ALIAS}/demo/paths/Manifests/1.0"),
        format!("/v2/{ALIAS}%2Fdemo%2Fpaths/manifests/1.0"),
        format!("/v2/{ALIAS}@evil.example/demo/paths/manifests/1.0"),
        format!("/v2/evil.example@{ALIAS}/demo/paths/manifests/1.0"),
        format!("/v2/{ALIAS}./demo/paths/manifests/1.0"),
        format!("/v2/{ALIAS}/demo/paths/manifests/sha256%3A{}", pushed.manifest.hex()),
        format!("/v2/{ALIAS}/demo/paths/manifests/sha256:{}", pushed.manifest.hex().to_uppercase()),
        format!("/v2/{ALIAS}/demo/paths/manifests/SHA256:{}", pushed.manifest.hex()),
        format!("/v2/{ALIAS}/demo/paths/manifests/sha256:{}0", pushed.manifest.hex()),
        format!("/v2/{ALIAS}/demo/paths/blobs/sha256:../../../pulls.db"),
        format!("/v2/{ALIAS}/demo/paths/blobs/..%2f..%2fpulls.db"),
        format!("/v2/demo/paths/manifests/1.0?ns={ALIAS}&NS=x&ns=x"),
        format!("/v2/demo/paths/manifests/1.0?ns={ALIAS};ns=x"),
        format!("/v2/demo/paths/manifests/1.0?ns=%20{ALIAS}"),
        format!("/v2/demo/paths/manifests/1.0?ns={ALIAS}%0a"),
        format!("/v2/demo/paths/manifests/1.0?ns={ALIAS}%23"),
        format!("/v2/demo/paths/manifests/1.0?%00ns={ALIAS}"),
    ] {
        let answer = one(&door, &get(&target)).await;
        assert!(matches!(answer.status, 400 | 404), "{target}: {}", answer.head);
        assert!(!answer.head.contains("docker-content-digest"), "{target}: {}", answer.head);
    }
    // No HTTP at all, or more of it than anybody sends: 400, 414 or 431 without a look, or nothing but the end.
    let long = format!("/v2/{ALIAS}/demo/{}/manifests/1.0", "a/".repeat(60_000));
    for bytes in [
        format!("GET {good}\u{7f} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes(),
        format!("GET {good} x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes(),
        format!("GET  {good} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes(),
        format!("GET\t{good} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes(),
        format!("GET {good} HTTP/1.1\r\nhost: x\r\nx y: 1\r\nconnection: close\r\n\r\n").into_bytes(),
        format!("GET {good} HTTP/1.1\r\nhost: x\r\n folded: 1\r\nconnection: close\r\n\r\n").into_bytes(),
        format!("GET {good} HTTP/9.9\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes(),
        get(&long).into_bytes(),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".repeat(20),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"\0".repeat(1000),
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).escape_debug().to_string();
        let mut stream = connected(&door).await;
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut text = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the connection is never ended");
        for answer in answers(&text) {
            assert!(matches!(answer.status, 400 | 414 | 431), "{shown}: {}", answer.head);
        }
    }
    assert_eq!(world.deployment.registry.requests().len(), asked, "somebody was asked");
    assert_eq!(world.log_size().await, size, "something was decided");
    assert_eq!(one(&door, &get(&good)).await.status, 200, "the next one is served");
    door.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_25_a21_6_whose_host_a_request_names_changes_neither_answer_nor_store() {
    let world = World::behind_the_door(|_| {}).await;
    let pushed = world.publish("hosts", components::command("hosts\n")).await;
    let door = world.local_door("local").await;
    let path = format!("/v2/{ALIAS}/demo/hosts/manifests/1.0");
    let plain = one(&door, &get(&path)).await;
    assert_eq!((plain.status, &plain.body[..]), (200, &pushed.manifest_bytes[..]));
    let (size, held) = (world.log_size().await, kept(&world));
    let told = |answer: &Answer| {
        let lines = answer.head.lines().filter(|line| !line.starts_with("date: "));
        (answer.status, lines.map(str::to_owned).collect::<Vec<_>>(), answer.body.clone())
    };
    for more in [
        "host: evil.example",
        "host: 169.254.169.254",
        "host: x\r\nx-forwarded-host: evil.example\r\nx-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: https",
        "host: x\r\nforwarded: for=127.0.0.1;host=evil.example;proto=https",
        "host: x\r\nx-forwarded-prefix: /v2/other\r\nx-original-uri: /v2/_catalog\r\nx-rewrite-url: /v2/_catalog",
        "host: x\r\nx-http-method-override: DELETE\r\nx-http-method: PUT",
        "host: x\r\naccept: application/vnd.docker.distribution.manifest.v1+json",
        "host: x\r\naccept: \r\naccept-encoding: gzip, zstd;q=1.0",
        "host: x\r\naccept: */*;q=0",
        "host: x\r\ndocker-distribution-api-version: registry/1.0\r\nnamespace: other\r\noci-namespace: other",
        "host: x\r\nauthorization: Basic YTpi",
        "host: x\r\ncookie: a=b\r\nreferer: http://evil.example/",
    ] {
        let answer = one(&door, &format!("GET {path} HTTP/1.1\r\n{more}\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(told(&answer), told(&plain), "{more}");
    }
    // The absolute form that a proxy is asked in (RFC 9112, section 3.2.2): the authority is not ours to follow.
    for target in [format!("http://evil.example{path}"), format!("https://169.254.169.254{path}")] {
        let answer = one(&door, &get(&target)).await;
        assert!(answer.status == 400 || told(&answer) == told(&plain), "{target}: {}", answer.head);
    }
    for request in [
        "CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ] {
        let answer = one(&door, request).await;
        assert!((400..500).contains(&answer.status), "{request}: {}", answer.head);
    }
    assert_eq!(world.log_size().await, size);
    assert_eq!(kept(&world), held);
    // Nothing of it goes on to the registry when it has to be asked: what is its own is all that it sees (A16.3).
    let asked = world.deployment.registry.requests().len();
    world.publish("cold", components::command("cold\n")).await;
    let pushed = world.deployment.registry.requests().len();
    let marked = "authorization: Basic TUFSS0VE\r\ncookie: MARKED\r\nx-forwarded-for: MARKED\r\nforwarded: for=MARKED\r\n\
                  user-agent: MARKED\r\nreferer: http://MARKED/\r\naccept: MARKED/MARKED\r\ntraceparent: MARKED";
    let cold = format!("/v2/{ALIAS}/demo/cold/manifests/1.0?MARKED=MARKED");
    let answer =
        one(&door, &format!("GET {cold} HTTP/1.1\r\nhost: MARKED\r\n{marked}\r\nconnection: close\r\n\r\n")).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    let seen = world.deployment.registry.requests().split_off(pushed);
    assert!(pushed > asked && seen.len() > 2, "it was cold");
    for request in seen {
        let sent =
            format!("{:?} {:?} {:?}", request.headers, request.query, request.authorization).to_ascii_uppercase();
        assert!(!sent.contains("MARKED") && !sent.contains("TUFSS0VE"), "passed on: {sent}");
    }
    serves_the_next(&world).await;
    door.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_18_a12_1_a12_3_floods_and_bodies_at_the_door_end_and_hold_nobody_up() {
    let world = World::behind_the_door(|_| {}).await;
    let pushed = world.publish("floods", components::command("floods\n")).await;
    let door = world.local_door("local").await;
    let path = format!("/v2/{ALIAS}/demo/floods/manifests/1.0");
    assert_eq!(one(&door, &get(&path)).await.status, 200);
    let (asked, size) = (world.deployment.registry.requests().len(), world.log_size().await);
    let fields: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    for more in [fields, format!("x: {}\r\n", "y".repeat(140_000)), format!("accept: {}\r\n", "a/b, ".repeat(28_000))] {
        let answer = one(&door, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n{more}connection: close\r\n\r\n")).await;
        assert_eq!(answer.status, 431, "{}", answer.head);
    }
    // Headers without an end: read as far as the limit and no further.
    let mut stream = connected(&door).await;
    let mut sent = 0_usize;
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let line = format!("x-flood: {}\r\n", "y".repeat(1000));
    while sent < 64 << 20 && stream.write_all(line.as_bytes()).await.is_ok() {
        sent += line.len();
    }
    assert!(sent < 64 << 20, "64 MiB of headers were taken");

    // A body on GET is not read, and what stands in it is no second request.
    let smuggled = format!("GET /v2/{ALIAS}/demo/smuggled/manifests/1.0 HTTP/1.1\r\nhost: x\r\n\r\n");
    for body in [
        format!("content-length: {}\r\n\r\n{smuggled}", smuggled.len()),
        format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len()),
        format!("content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("content-length: 0\r\ncontent-length: {}\r\n\r\n{smuggled}", smuggled.len()),
        format!("transfer-encoding: xchunked\r\n\r\n{smuggled}"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{body}");
        for answer in raw(&door, request.as_bytes()).await {
            assert!(matches!(answer.status, 200 | 400), "{}: {}", body.escape_debug(), answer.head);
        }
    }
    // Announced and never sent: answered at once, for nobody waits for it.
    let waiting = format!("GET {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n");
    let mut stream = connected(&door).await;
    stream.write_all(waiting.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut start)).await.expect("it waits for the body").unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let seen = world.deployment.registry.requests();
    assert_eq!(seen.len(), asked, "{:?}", seen.last());
    assert_eq!(world.log_size().await, size);

    // Sent ahead, answered in their order: the ones that may not be had between those that may.
    let blob = format!("/v2/{ALIAS}/demo/floods/blobs/{}", pushed.component);
    let absent = format!("/v2/{ALIAS}/demo/floods/blobs/{}", Digest::of(b"absent"));
    let ahead = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
    let requests = [ahead(&path), ahead(&absent), ahead(&blob), ahead("/v2/_catalog"), get(&path)].concat();
    let answers = raw(&door, requests.as_bytes()).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 404, 200, 405, 200]);
    assert_eq!(Digest::of(&answers[2].body), pushed.component);
    // Two thousand ahead and nobody who reads: nothing of it is decided or fetched anew.
    let mut stream = connected(&door).await;
    let _ = timeout(Duration::from_secs(2), stream.write_all(ahead(&path).repeat(2000).as_bytes())).await;
    drop(stream);
    assert_eq!(world.deployment.registry.requests().len(), asked);
    assert_eq!(world.log_size().await, size);
    serves_the_next(&world).await;
    door.service.stop().await;
}

/// The blob is larger than the memory there is, so it is sent from its file, piece by piece.
#[tokio::test(flavor = "multi_thread")]
async fn case_26_a30_3_who_leaves_in_the_middle_of_a_file_leaves_nothing_behind() {
    let world = World::behind_the_door(|setup| setup.more = "[registry]\nmemory_max_bytes = 1048576\n".into()).await;
    let wasm = components::padded(components::command("large\n"), 32 << 20);
    let pushed = world.publish("large", wasm.clone()).await;
    let door = world.local_door("local").await;
    let rest = format!("blobs/{}", pushed.component);
    let target = format!("/v2/{ALIAS}/demo/large/{rest}");
    assert_eq!(world.host.pull("large", "manifests/1.0").await.status, 200);
    assert_eq!(one(&door, &get(&format!("/v2/{ALIAS}/demo/large/manifests/1.0"))).await.status, 200);
    let (asked, held) = (world.deployment.registry.requests().len(), kept(&world));
    for after_bytes in [0, 1, 100_000, 20 << 20] {
        let mut stream = connected(&door).await;
        stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut begun = vec![0; after_bytes];
        timeout(PATIENCE, stream.read_exact(&mut begun)).await.unwrap().unwrap();
        // With bytes unread, so that the other side sees a reset, and no end.
        drop(stream);
        let whole = world.host.fetch(Method::GET, &door_path("large", &rest), &[]).await;
        assert_eq!((whole.status, whole.bytes == wasm), (200, true), "{after_bytes}");
    }
    assert_eq!(kept(&world), held);
    let temporaries = std::fs::read_dir(world.deployment.config.data_dir.join("cache/tmp")).unwrap();
    assert_eq!(temporaries.count(), 0, "a partial file");
    assert!(
        world.deployment.registry.requests()[asked..].iter().all(|request| request.method == "HEAD"),
        "fetched again"
    );
    serves_the_next(&world).await;
    door.service.stop().await;
}
