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

/// Limits under which a body that stands still for [`SHORT_MS`] ends, and nothing else does.
fn impatient() -> Limits {
    Limits { body_patience_ms: SHORT_MS, ..Limits::default() }
}

const LARGE_REQUEST: &str = "GET /large HTTP/1.1\r\nhost: gate\r\n\r\n";

#[tokio::test]
async fn a12_3_who_does_not_read_its_answer_is_cut_off_and_others_are_not() {
    let world = World::within(Limits { connections: 2, ..impatient() }).await;
    let config = reckless(Some(keyed(&world.host("/host/a"))));
    let mut stopped = connect(world.address, config.clone()).await.unwrap();
    stopped.send(LARGE_REQUEST).await.unwrap();
    let mut dripping = connect(world.address, config.clone()).await.unwrap();
    dripping.send(LARGE_REQUEST).await.unwrap();
    let drip = async {
        let mut byte = [0];
        while dripping.0.read(&mut byte).await.is_ok_and(|size| size > 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let both_closed = async {
        world.logs.say("slow-reader").await;
        world.logs.say("slow-reader").await;
    };
    tokio::select! {
        () = both_closed => {}
        // What the buffers hold can be read long after the end.
        () = drip => world.logs.say("slow-reader").await,
    }
    // Both had a place each, and there are only two.
    assert_eq!(world.ask(&world.host("/host/a")).await.unwrap().status, 200);
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stopped.0.read_to_end(&mut rest)).await.expect("not closed");
    assert!(rest.len() < LARGE.len(), "it was read to the end");
}

/// An answer that is on its way is no idle connection, however long it takes a peer that goes on reading.
#[tokio::test]
async fn a_large_answer_is_sent_to_a_slow_peer_to_its_end() {
    let limits = Limits { idle_timeout_ms: 100, drain_ms: 100, body_patience_ms: 10_000, ..Limits::default() };
    let world = World::within(limits).await;
    let mut connection = connect(world.address, reckless(Some(keyed(&world.host("/host/a"))))).await.unwrap();
    connection.send(LARGE_REQUEST).await.unwrap();
    let (start, mut read) = (std::time::Instant::now(), 0);
    let mut piece = vec![0; 1 << 20];
    while read < LARGE.len() {
        let size = connection.0.read(&mut piece).await.unwrap();
        assert!(size > 0, "cut off after {read} bytes");
        read += size;
        tokio::time::sleep(Duration::from_millis(size as u64 / 16_384)).await;
    }
    assert!(start.elapsed() > Duration::from_secs(1), "it was read too fast to tell: {:?}", start.elapsed());
}

#[tokio::test]
async fn a12_3_an_http_2_peer_that_gives_no_room_is_cut_off() {
    let world = World::within(impatient()).await;
    let mut config = reckless(Some(keyed(&world.host("/host/a"))));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let client = reqwest::Client::builder().tls_backend_preconfigured(config).build().unwrap();
    let mut stopped = client.get(format!("https://{}/large", world.address)).send().await.unwrap();
    assert_eq!((stopped.status().as_u16(), stopped.version()), (200, http::Version::HTTP_2));
    world.logs.say("slow-reader").await;
    let mut read = 0;
    while let Ok(Some(piece)) = stopped.chunk().await {
        read += piece.len();
    }
    assert!(read < LARGE.len(), "it was read to the end");
}

#[tokio::test]
async fn a12_3_a_request_body_that_does_not_come_is_answered_408_and_ended() {
    let world = World::within(impatient()).await;
    let config = reckless(Some(keyed(&world.host("/host/a"))));
    for body in ["", "x"] {
        let mut connection = connect(world.address, config.clone()).await.unwrap();
        let head = "POST /length HTTP/1.1\r\nhost: gate\r\ncontent-length: 100\r\n\r\n";
        connection.send(&format!("{head}{body}")).await.unwrap();
        let reply = connection.reply().await.unwrap();
        assert_eq!(reply.status, 408, "{}", reply.body);
        assert!(reply.body.contains("too slowly"), "{}", reply.body);
        connection.closed().await;
    }
    let mut connection = connect(world.address, config).await.unwrap();
    let whole = "POST /length HTTP/1.1\r\nhost: gate\r\ncontent-length: 3\r\n\r\nabc";
    connection.send(whole).await.unwrap();
    assert_eq!(connection.reply().await.unwrap(), Reply { status: 200, body: "3".into() });
}

/// Six times as many as there are places: those inside end for want of a request, those outside wait in the kernel.
#[tokio::test]
async fn a12_3_idle_connections_past_the_limit_hold_nobody_up_for_longer_than_the_first_request_may_take() {
    const PLACES: usize = 32;
    let limits =
        Limits { connections: PLACES, header_read_timeout_ms: SHORT_MS, drain_ms: SHORT_MS, ..Limits::default() };
    let world = World::within(limits).await;
    let config = reckless(Some(keyed(&world.host("/host/a"))));
    let connecting = (0..6 * PLACES).map(|_| {
        let (address, config) = (world.address, config.clone());
        // Proven, and then silent.
        async move { connect(address, config).await.unwrap().closed().await }
    });
    let idle = futures::future::join_all(connecting);
    let honest = async {
        let mut connection = connect(world.address, config.clone()).await.unwrap();
        connection.ask().await.unwrap()
    };
    let (reply, _) = tokio::join!(honest, idle);
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_body_that_nobody_asked_for_is_no_second_request() {
    let world = World::start().await;
    let config = reckless(Some(keyed(&world.host("/host/a"))));
    let smuggled = "GET /never HTTP/1.1\r\nhost: gate\r\n\r\n";
    for head in [
        format!("content-length: {}", smuggled.len()),
        format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0", smuggled.len()),
    ] {
        let mut connection = connect(world.address, config.clone()).await.unwrap();
        let whole = match head.contains("chunked") {
            true => format!("GET /who HTTP/1.1\r\nhost: gate\r\n{head}\r\n\r\n"),
            false => format!("GET /who HTTP/1.1\r\nhost: gate\r\n{head}\r\n\r\n{smuggled}"),
        };
        connection.send(&whole).await.unwrap();
        assert_eq!(connection.reply().await.unwrap().status, 200, "{head}");
        // Kept or closed behind it, but never taken for a request.
        if let Ok(next) = connection.ask().await {
            assert_eq!(next.status, 200, "{head}");
        }
        assert!(!world.logs.all().contains("asked for ever"), "{head}");
    }
    // Two lengths, or a length beside chunks, could be read in two ways: refused.
    for lengths in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 6",
        "content-length: +5",
        "content-length: -1",
        "transfer-encoding: gzip",
    ] {
        let mut connection = connect(world.address, config.clone()).await.unwrap();
        connection.send(&format!("POST /length HTTP/1.1\r\nhost: gate\r\n{lengths}\r\n\r\nhello")).await.unwrap();
        assert_eq!(connection.reply().await.unwrap().status, 400, "{lengths}");
        connection.closed().await;
    }
}

#[tokio::test]
async fn requests_that_are_sent_ahead_are_answered_in_their_order() {
    let world = World::start().await;
    let config = reckless(Some(keyed(&world.host("/host/a"))));
    let mut connection = connect(world.address, config).await.unwrap();
    let post =
        |body: &str| format!("POST /length HTTP/1.1\r\nhost: gate\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    connection.send(&["a", "bb", "ccc", "dddd"].map(post).concat()).await.unwrap();
    let mut answers = String::new();
    let mut piece = [0; 1024];
    while answers.matches("HTTP/1.1 200").count() < 4 || !answers.ends_with("\r\n\r\n4") {
        let size = tokio::time::timeout(PATIENCE, connection.0.read(&mut piece)).await.unwrap().unwrap();
        assert!(size > 0, "{answers}");
        answers.push_str(&String::from_utf8_lossy(&piece[..size]));
    }
    let bodies: Vec<_> = answers.split("\r\n\r\n").skip(1).filter_map(|part| part.chars().next()).collect();
    assert_eq!(bodies, ['1', '2', '3', '4']);
}
