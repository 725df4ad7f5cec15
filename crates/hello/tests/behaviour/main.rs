//! The binary as a deployment sees it: what it answers, how it misbehaves when told, how it ends.

mod process;

use process::{Hello, WAIT_SECONDS_MAX, connect, get, read_answer, read_head, request, wait_until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn every_answer_says_which_release_and_slot_gave_it() {
    let (_hello, address) =
        Hello::ready(&[("VERSION", "v1.2.3"), ("SLOT", "blue"), ("FAIL_PATHS", "/broken")]);
    for (target, status) in [
        ("/", 200),
        ("/health", 200),
        ("/version", 200),
        ("/metrics", 200),
        ("/slow?ms=1", 200),
        ("/sse?events=1", 200),
        ("/nowhere", 404),
        ("/broken", 500),
        ("/slow?ms=soon", 400),
        ("/ws", 426),
    ] {
        let answer = get(address, target);
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.headers["x-release"], "v1.2.3", "{target}");
        assert_eq!(answer.headers["x-slot"], "blue", "{target}");
    }
    assert_eq!(get(address, "/version").text(), "v1.2.3\n");
    assert!(get(address, "/").text().contains("v1.2.3"));
    assert_eq!(
        get(address, "/health").text(),
        "{\"release\":\"v1.2.3\",\"slot\":\"blue\",\"status\":\"ok\"}\n"
    );
}

#[test]
fn without_a_slot_there_is_no_slot_header() {
    let (_hello, address) = Hello::ready(&[]);
    let answer = get(address, "/");
    assert_eq!(answer.headers["x-release"], "dev");
    assert!(!answer.headers.contains_key("x-slot"));
}

#[test]
fn one_line_each_is_logged_at_start_ready_and_stop() {
    let (mut hello, _) = Hello::ready(&[("VERSION", "v1"), ("SLOT", "green")]);
    hello.signal("TERM");
    assert_eq!(hello.line_with("hello: "), "hello: stop release=v1 reason=SIGTERM cut=0");
    assert_eq!(hello.ended(), (Some(0), String::new()));
}

#[test]
fn boot_delays_listening_and_a_stop_ends_it() {
    let booting = Instant::now();
    let (_hello, _) = Hello::ready(&[("BOOT_MS", "150")]);
    assert!(booting.elapsed() >= Duration::from_millis(150));

    let mut hello = Hello::start(&[("BOOT_MS", "3600000")]);
    hello.line_with("hello: start ");
    hello.signal("TERM");
    assert_eq!(hello.ended().0, Some(0));
}

#[test]
fn health_can_start_late_never_or_alternate() {
    let (_late, address) = Hello::ready(&[("HEALTHY_AFTER_MS", "1000")]);
    let ready = Instant::now();
    assert_eq!(get(address, "/health").status, 503);
    wait_until("health turns 200", || get(address, "/health").status == 200);
    assert!(ready.elapsed() >= Duration::from_millis(500));

    let (_never, address) = Hello::ready(&[("UNHEALTHY", "1")]);
    assert_eq!((get(address, "/health").status, get(address, "/").status), (503, 200));

    let (_flapping, address) = Hello::ready(&[("FLAP", "1")]);
    let seen: Vec<u16> = (0..4).map(|_| get(address, "/health").status).collect();
    assert_eq!(seen, [200, 503, 200, 503]);
}

#[test]
fn latency_delays_everything_but_health() {
    let (_hello, address) = Hello::ready(&[("LATENCY_MS", "120")]);
    let asked = Instant::now();
    get(address, "/");
    assert!(asked.elapsed() >= Duration::from_millis(120));
    // Faster than the latency at least once: one slow scheduling of the machine is no failure.
    wait_until("health answers at once", || {
        let asked = Instant::now();
        get(address, "/health");
        asked.elapsed() < Duration::from_millis(120)
    });
}

#[test]
fn a_crash_and_a_death_end_with_exit_code_1_and_say_why() {
    let mut crashed = Hello::start(&[("CRASH", "1")]);
    assert_eq!(crashed.ended(), (Some(1), "hello: error: crashing at once, as told by CRASH\n".into()));

    let (mut dying, address) = Hello::ready(&[("DIE_AFTER_MS", "1000")]);
    assert_eq!(get(address, "/health").status, 200);
    assert_eq!(dying.ended(), (Some(1), "hello: error: dying, as told by DIE_AFTER_MS\n".into()));
}

#[test]
fn a_wrong_option_ends_with_exit_code_2_and_a_taken_port_with_1() {
    let (code, errors) = Hello::start(&[("PORT", "many")]).ended();
    assert_eq!(code, Some(2));
    assert!(errors.contains("PORT is \"many\""), "{errors}");

    let (_first, address) = Hello::ready(&[]);
    let (code, errors) = Hello::start(&[("PORT", &address.port().to_string())]).ended();
    assert_eq!(code, Some(1));
    assert!(errors.contains(&format!("cannot listen on {address}")), "{errors}");
}

#[test]
fn the_probe_is_a_health_check_for_an_image_without_a_shell() {
    let (_hello, address) = Hello::ready(&[("FLAP", "1")]);
    let port = address.port().to_string();
    let told = [("PORT", port.as_str()), ("PROBE", "1")];
    assert_eq!(Hello::start(&told).ended(), (Some(0), String::new()));
    let (code, errors) = Hello::start(&told).ended();
    assert_eq!(code, Some(1));
    assert!(errors.contains("answered HTTP/1.1 503"), "{errors}");
    assert_eq!(Hello::start(&[("PORT", "1"), ("PROBE", "1")]).ended().0, Some(1), "nobody listens there");
}

#[test]
fn listen_port_wins_over_the_port_that_it_was_told() {
    let (hello, address) = Hello::ready(&[("PORT", "1"), ("LISTEN_PORT", "0")]);
    assert_ne!(address.port(), 1);
    assert_eq!(get(address, "/").status, 200);
    drop(hello);
}

#[test]
fn a_request_in_flight_survives_sigterm_and_new_connections_are_refused() {
    let (mut hello, address) = Hello::ready(&[]);
    let mut whole = send(address, "/slow?ms=1500");
    let mut streamed = send(address, "/slow?ms=1500&stream=1");
    let first = read_head(&mut streamed);
    assert_eq!(first.0, 200);
    wait_in_flight(address, 3); // the two, and the request that asks

    hello.signal("TERM");
    wait_until("the listener is closed", || TcpStream::connect(address).is_err());
    assert!(hello.is_running(), "it waits for the two requests");
    assert_eq!(read_answer(&mut whole).text(), "waited 1500 ms in dev\n");
    let mut rest = String::new();
    streamed.read_to_string(&mut rest).expect("the stream ends properly");
    assert!(rest.ends_with("0\r\n\r\n") && rest.contains("waited 1500 ms"), "{rest}");
    hello.line_with("reason=SIGTERM cut=0");
    assert_eq!(hello.ended().0, Some(0));
}

#[test]
fn the_drain_is_bounded_by_shutdown_ms() {
    let (mut hello, address) = Hello::ready(&[("SHUTDOWN_MS", "100")]);
    let mut cut = send(address, "/slow?ms=600000");
    wait_in_flight(address, 2);
    hello.signal("TERM");
    hello.line_with("reason=SIGTERM cut=1");
    assert_eq!(hello.ended().0, Some(0));
    let mut nothing = Vec::new();
    assert!(matches!(cut.read_to_end(&mut nothing), Ok(0) | Err(_)), "the request was cut");
}

#[test]
fn an_idle_keep_alive_connection_does_not_hold_up_the_stop() {
    let (mut hello, address) = Hello::ready(&[("SHUTDOWN_MS", "3600000")]);
    let mut idle = connect(address);
    write!(idle, "GET /version HTTP/1.1\r\nHost: test\r\n\r\n").expect("sent");
    let (status, headers) = read_head(&mut idle);
    let mut body = vec![0; headers["content-length"].parse().expect("a length")];
    idle.read_exact(&mut body).expect("a body");
    assert_eq!((status, body.as_slice()), (200, b"dev\n".as_slice()));
    hello.signal("TERM");
    assert_eq!(hello.ended().0, Some(0));
    assert_eq!(idle.read(&mut [0]).expect("a clean end"), 0);
}

#[test]
fn ignore_term_goes_on_serving_until_sigint() {
    let (mut hello, address) = Hello::ready(&[("IGNORE_TERM", "1"), ("VERSION", "v9")]);
    hello.signal("TERM");
    hello.line_with("ignoring SIGTERM release=v9");
    assert_eq!(get(address, "/").status, 200);
    hello.signal("INT");
    hello.line_with("reason=SIGINT cut=0");
    assert_eq!(hello.ended().0, Some(0));
}

#[test]
fn echo_returns_every_byte_of_a_post_and_refuses_a_get() {
    let (_hello, address) = Hello::ready(&[]);
    let body: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let answer = request(address, "POST", "/echo", &body);
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "the body came back changed");
    assert_eq!(get(address, "/echo").status, 405);
    assert_eq!(request(address, "POST", "/", b"x").status, 405);
}

#[test]
fn server_sent_events_come_numbered_and_end() {
    let (_hello, address) = Hello::ready(&[("VERSION", "v2")]);
    let answer = get(address, "/sse?events=3&every_ms=5");
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let events: Vec<&str> = answer.text().split_terminator("\n\n").collect();
    let expected = [1, 2, 3].map(|n| format!("id: {n}\ndata: {{\"event\":{n},\"release\":\"v2\"}}"));
    assert_eq!(events, expected);
}

#[test]
fn metrics_count_requests_and_those_in_flight() {
    let (_hello, address) = Hello::ready(&[("VERSION", "v\"1")]);
    let _slow = send(address, "/slow?ms=600000");
    wait_in_flight(address, 2);
    let metrics = get(address, "/metrics");
    assert!(metrics.text().contains("hello_requests_total{release=\"v\\\"1\"} "), "{}", metrics.text());
    drop(_slow);
    wait_in_flight(address, 1);
}

#[test]
fn an_upgrade_to_echo_returns_bytes_as_they_come() {
    let (_hello, address) = Hello::ready(&[("VERSION", "v3")]);
    let mut stream = upgrade(address, "/anything", "echo", "");
    for word in [b"first".as_slice(), b"second"] {
        stream.write_all(word).expect("sent");
        let mut back = vec![0; word.len()];
        stream.read_exact(&mut back).expect("echoed");
        assert_eq!(back, word);
    }
}

#[test]
fn a_websocket_echoes_messages_pings_and_close() {
    let (_hello, address) = Hello::ready(&[]);
    let mut stream = websocket(address);
    let long = "x".repeat(70_000);
    for payload in ["", "hello", &long[..126], &long[..65_536], &long] {
        stream.write_all(&masked(0x81, payload.as_bytes())).expect("sent");
        assert_eq!(read_frame(&mut stream), (0x81, payload.as_bytes().to_vec()));
    }
    stream.write_all(&masked(0x89, b"are you there")).expect("sent");
    assert_eq!(read_frame(&mut stream), (0x8A, b"are you there".to_vec()));
    stream.write_all(&masked(0x88, &1000u16.to_be_bytes())).expect("sent");
    assert_eq!(read_frame(&mut stream), (0x88, 1000u16.to_be_bytes().to_vec()));
    assert_eq!(stream.read(&mut [0]).expect("a clean end"), 0);
}

#[test]
fn a_stop_closes_websockets_with_going_away_and_an_unmasked_frame_is_a_protocol_error() {
    let (mut hello, address) = Hello::ready(&[("SHUTDOWN_MS", "3600000")]);
    let mut rude = websocket(address);
    rude.write_all(&[0x81, 1, b'x']).expect("sent");
    assert_eq!(read_frame(&mut rude), (0x88, 1002u16.to_be_bytes().to_vec()));

    let mut stream = websocket(address);
    hello.signal("TERM");
    assert_eq!(read_frame(&mut stream), (0x88, 1001u16.to_be_bytes().to_vec()));
    hello.line_with("reason=SIGTERM cut=0");
    assert_eq!(hello.ended().0, Some(0));
}

fn send(address: std::net::SocketAddr, target: &str) -> TcpStream {
    let mut stream = connect(address);
    write!(stream, "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("sent");
    stream
}

fn wait_in_flight(address: std::net::SocketAddr, count: usize) {
    let wanted = format!("}} {count}\n# TYPE hello_uptime");
    wait_until(&format!("{count} requests in flight"), || get(address, "/metrics").text().contains(&wanted));
}

fn upgrade(address: std::net::SocketAddr, target: &str, protocol: &str, headers: &str) -> TcpStream {
    let mut stream = connect(address);
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n{headers}\r\n"
    )
    .expect("sent");
    let (status, headers) = read_head(&mut stream);
    assert_eq!((status, headers["upgrade"].as_str()), (101, protocol), "within {WAIT_SECONDS_MAX} s");
    assert!(headers.contains_key("x-release"));
    stream
}

fn websocket(address: std::net::SocketAddr) -> TcpStream {
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    upgrade(address, "/ws", "websocket", key)
}

fn masked(head: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 99, 200, 31];
    let mut frame = vec![head];
    match payload.len() {
        short @ ..126 => frame.push(0x80 | short as u8),
        medium @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut bytes = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).expect("a frame");
        bytes
    };
    let head = bytes(2);
    let length = match head[1] {
        126 => bytes(2).iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        127 => bytes(8).iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        short => usize::from(short),
    };
    (head[0], bytes(length))
}
