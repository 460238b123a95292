//! Peers that take their time.

use super::*;

const SHORT_MS: u64 = 300;

#[tokio::test]
async fn silent_sockets_do_not_keep_others_out() {
    let limits = Limits { handshakes: 8, handshake_timeout_ms: SHORT_MS, ..Limits::default() };
    let world = World::within(limits).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(Connection(TcpStream::connect(world.address).await.unwrap()));
    }
    assert_eq!(world.ask(&world.host("/host/a")).await.unwrap().status, 200);
    for connection in &mut silent {
        connection.closed().await;
    }
    world.logs.say("handshake-timeout").await;
}

#[tokio::test]
async fn a_dripping_header_is_cut_off() {
    let world = World::within(Limits { header_read_timeout_ms: SHORT_MS, ..Limits::default() }).await;
    let config = reckless(Some(keyed(&world.host("/host/a"))));
    let mut connection = connect(world.address, config).await.unwrap();
    connection.send("GET /who HTTP/1.1\r\nhost: ga").await.unwrap();
    connection.closed().await;
}

#[tokio::test]
async fn an_http_2_peer_that_says_nothing_is_cut_off() {
    let world =
        World::within(Limits { header_read_timeout_ms: SHORT_MS, drain_ms: SHORT_MS, ..Limits::default() }).await;
    let mut config = reckless(Some(keyed(&world.host("/host/a"))));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut connection = connect(world.address, config).await.unwrap();
    let mut frames = Vec::new();
    // The server's SETTINGS and GOAWAY may come first.
    let _ = tokio::time::timeout(PATIENCE, connection.0.read_to_end(&mut frames)).await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_closed_but_not_a_busy_one() {
    let limits = Limits { idle_timeout_ms: SHORT_MS, drain_ms: SHORT_MS, ..Limits::default() };
    let world = World::within(limits).await;
    let config = reckless(Some(keyed(&world.host("/host/a"))));
    let mut busy = connect(world.address, config.clone()).await.unwrap();
    busy.send("GET /never HTTP/1.1\r\nhost: gate\r\n\r\n").await.unwrap();
    let mut idle = connect(world.address, config).await.unwrap();
    assert_eq!(idle.ask().await.unwrap().status, 200);
    idle.closed().await;
    let mut byte = [0];
    let still_open = tokio::time::timeout(Duration::from_millis(2 * SHORT_MS), busy.0.read(&mut byte)).await;
    assert!(still_open.is_err(), "a request that is being worked on keeps its connection");
}

#[tokio::test]
async fn connections_past_the_limit_wait() {
    let world = World::within(Limits { connections: 2, ..Limits::default() }).await;
    let config = reckless(Some(keyed(&world.host("/host/a"))));
    let mut first = connect(world.address, config.clone()).await.unwrap();
    let mut second = connect(world.address, config.clone()).await.unwrap();
    assert_eq!(first.ask().await.unwrap().status, 200);
    assert_eq!(second.ask().await.unwrap().status, 200);
    let address = world.address;
    let mut third = tokio::spawn(async move { connect(address, config).await.unwrap().ask().await });
    assert!(tokio::time::timeout(Duration::from_millis(SHORT_MS), &mut third).await.is_err());
    drop(first);
    let reply = tokio::time::timeout(PATIENCE, third).await.unwrap().unwrap().unwrap();
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_header_past_the_limit_is_refused() {
    let world = World::within(Limits { header_size_bytes: 8192, ..Limits::default() }).await;
    let config = reckless(Some(keyed(&world.host("/host/a"))));
    for (size, expected) in [(7_000, 200), (9_000, 431)] {
        let mut connection = connect(world.address, config.clone()).await.unwrap();
        let padding = "a".repeat(size);
        connection.send(&format!("GET /who HTTP/1.1\r\nhost: gate\r\nx-padding: {padding}\r\n\r\n")).await.unwrap();
        assert_eq!(connection.reply().await.unwrap().status, expected, "{size} bytes");
    }
}

#[tokio::test]
async fn header_fields_are_counted() {
    let world = World::start().await;
    let config = reckless(Some(keyed(&world.host("/host/a"))));
    for (fields, expected) in [(super::super::HEADER_FIELDS, 200), (super::super::HEADER_FIELDS + 1, 431)] {
        let mut connection = connect(world.address, config.clone()).await.unwrap();
        let more: String = (1..fields).map(|number| format!("x-{number}: 1\r\n")).collect();
        connection.send(&format!("GET /who HTTP/1.1\r\nhost: gate\r\n{more}\r\n")).await.unwrap();
        assert_eq!(connection.reply().await.unwrap().status, expected, "{fields} fields");
    }
}

#[tokio::test]
async fn http_2_streams_past_the_limit_wait() {
    let world = World::within(Limits { streams: 2, ..Limits::default() }).await;
    let mut config = reckless(Some(keyed(&world.host("/host/a"))));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let client = reqwest::Client::builder().tls_backend_preconfigured(config).build().unwrap();
    let ask = |path: &str| client.get(format!("https://{}{path}", world.address)).send();
    // The first answer brings the server's SETTINGS.
    assert_eq!(ask("/who").await.unwrap().status(), 200);
    let first = tokio::spawn(ask("/never"));
    let second = tokio::spawn(ask("/never"));
    world.logs.say("asked for ever").await;
    world.logs.say("asked for ever").await;
    let mut third = std::pin::pin!(ask("/who"));
    assert!(tokio::time::timeout(Duration::from_millis(SHORT_MS), &mut third).await.is_err());
    first.abort();
    assert_eq!(tokio::time::timeout(PATIENCE, third).await.unwrap().unwrap().status(), 200);
    second.abort();
}
