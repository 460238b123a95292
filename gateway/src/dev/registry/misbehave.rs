//! A fault makes of an honest answer what goes out instead.

use std::io::Write as _;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use http::{HeaderName, Method, StatusCode};

use super::content_digest::ContentDigest;
use super::fault::Fault;
use super::refusal::Refusal;
use super::wire::{Script, Step};
use crate::doors::http::oci::answer::{Answer, DOCKER_CONTENT_DIGEST};

/// What goes out.
#[derive(Debug)]
pub(super) enum Delivery {
    /// An answer that an HTTP server can send.
    Answer(Answer),
    /// Bytes that it would not send; the connection ends with them.
    Script(Script),
}

/// What a fault says instead of any answer; an altering one says what it would make of an empty 500.
pub(super) fn replace(fault: Fault, method: &Method) -> Delivery {
    match fault {
        Fault::Status { code, body, headers } => {
            let mut answer = Answer::empty(status(code)).carrying(body);
            for (name, value) in headers {
                answer = set(answer, &name, &value);
            }
            Delivery::Answer(answer)
        }
        Fault::Redirect { location, status: code } => {
            Delivery::Answer(Answer::empty(status(code)).with(LOCATION, location))
        }
        Fault::Challenge { www_authenticate } => Delivery::Answer(
            Answer::from(Refusal::unauthorized("authentication required")).with(WWW_AUTHENTICATE, www_authenticate),
        ),
        Fault::TokenBody(body) => {
            Delivery::Answer(Answer::empty(StatusCode::OK).with(CONTENT_TYPE, "application/json").carrying(body))
        }
        Fault::Hang => Delivery::Script(vec![Step::HoldOpen]),
        Fault::CloseAtOnce => Delivery::Script(Vec::new()),
        Fault::Garbage => Delivery::Script(vec![Step::Write(Bytes::from_static(GARBAGE))]),
        Fault::HeaderFlood { bytes } => Delivery::Script(vec![
            Step::Write(Bytes::from_static(b"HTTP/1.1 200 OK\r\n")),
            Step::Repeat { unit: Bytes::from_static(FLOOD_HEADER), times: bytes.div_ceil(FLOOD_HEADER.len() as u64) },
            Step::HoldOpen,
        ]),
        altering => alter(altering, Answer::empty(StatusCode::INTERNAL_SERVER_ERROR), method),
    }
}

/// What a fault makes of the honest answer; a replacing one forgets it.
pub(super) fn alter(fault: Fault, honest: Answer, method: &Method) -> Delivery {
    let length = honest.body.len() as u64;
    match fault {
        Fault::WrongBytes(body) => Delivery::Answer(honest.carrying(body)),
        Fault::ExtraByte => {
            let mut body = BytesMut::from(&honest.body[..]);
            body.extend_from_slice(b"\n");
            Delivery::Answer(honest.carrying(body))
        }
        Fault::WrongDigestHeader => {
            let other = ContentDigest::sha256(b"something else").to_string();
            Delivery::Answer(honest.with(DOCKER_CONTENT_DIGEST, other))
        }
        Fault::Header { name, value } => Delivery::Answer(set(honest, &name, &value)),
        Fault::WithoutHeader(name) if name.eq_ignore_ascii_case("content-length") => {
            Delivery::Script(vec![Step::Write(head(&honest)), body(&honest, method)])
        }
        Fault::WithoutHeader(name) => {
            let mut answer = honest;
            answer.headers.remove(name);
            Delivery::Answer(answer)
        }
        Fault::WrongMediaType(media_type) => Delivery::Answer(honest.with(CONTENT_TYPE, media_type)),
        Fault::ContentEncoding(encoding) => Delivery::Answer(honest.with(CONTENT_ENCODING, encoding)),
        Fault::Truncate { after_bytes } => Delivery::Script(begun(honest, length, method, after_bytes)),
        Fault::Stall { after_bytes } => {
            let mut script = begun(honest, length, method, after_bytes);
            script.push(Step::HoldOpen);
            Delivery::Script(script)
        }
        Fault::ContentLength { claimed } => Delivery::Script(begun(honest, claimed, method, usize::MAX)),
        Fault::Drip { bytes_per_second } => {
            let bytes = if *method == Method::HEAD { Bytes::new() } else { honest.body.clone() };
            let head = head(&honest.with(CONTENT_LENGTH, length.to_string()));
            Delivery::Script(vec![Step::Write(head), Step::Drip { bytes, bytes_per_second }])
        }
        Fault::Flood { bytes } => Delivery::Script(flood(honest, bytes, method)),
        // The route was flipped before the answer was made.
        Fault::FlipTag { .. } => Delivery::Answer(honest),
        replacing @ (Fault::Status { .. }
        | Fault::Redirect { .. }
        | Fault::Challenge { .. }
        | Fault::TokenBody(_)
        | Fault::Hang
        | Fault::CloseAtOnce
        | Fault::Garbage
        | Fault::HeaderFlood { .. }) => replace(replacing, method),
    }
}

/// A response that promises `claimed` bytes and sends at most `sent_bytes` of its body.
fn begun(answer: Answer, claimed: u64, method: &Method, sent_bytes: usize) -> Script {
    let mut answer = answer.with(CONTENT_LENGTH, claimed.to_string());
    answer.body.truncate(sent_bytes);
    vec![Step::Write(head(&answer)), body(&answer, method)]
}

/// A chunked response of `bytes` spaces: no parser of JSON stops early at those.
fn flood(answer: Answer, bytes: u64, method: &Method) -> Script {
    let head = Step::Write(head(&answer.with(TRANSFER_ENCODING, "chunked")));
    if *method == Method::HEAD {
        return vec![head];
    }
    let (times, rest) = (bytes / FLOOD_CHUNK_BYTES, bytes % FLOOD_CHUNK_BYTES);
    let mut script = vec![head, Step::Repeat { unit: chunk(FLOOD_CHUNK_BYTES), times }];
    if rest > 0 {
        script.push(Step::Write(chunk(rest)));
    }
    script.push(Step::Write(Bytes::from_static(b"0\r\n\r\n")));
    script
}

fn chunk(size_bytes: u64) -> Bytes {
    let spaces = " ".repeat(usize::try_from(size_bytes).expect("a chunk is at most FLOOD_CHUNK_BYTES"));
    format!("{size_bytes:x}\r\n{spaces}\r\n").into()
}

/// The head of a response with exactly the headers of `answer`.
fn head(answer: &Answer) -> Bytes {
    let mut head = Vec::new();
    let reason = answer.status.canonical_reason().unwrap_or_default();
    let wrote = write!(head, "HTTP/1.1 {} {reason}\r\n", answer.status.as_u16());
    wrote.expect("writing to memory does not fail");
    for (name, value) in &answer.headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"connection: close\r\n\r\n");
    head.into()
}

fn body(answer: &Answer, method: &Method) -> Step {
    Step::Write(if *method == Method::HEAD { Bytes::new() } else { answer.body.clone() })
}

fn set(answer: Answer, name: &str, value: &str) -> Answer {
    match name.parse::<HeaderName>() {
        Ok(name) => answer.with(name, value),
        Err(_) => answer,
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

const GARBAGE: &[u8] = b"\x16\x03\x01\0\xffno HTTP at all\0\r\n\r\n";
/// One kibibyte of header.
const FLOOD_HEADER: &[u8; 1024] = &{
    let mut line = [b'a'; 1024];
    let name = b"x-flood: ";
    let mut at = 0;
    while at < name.len() {
        line[at] = name[at];
        at += 1;
    }
    line[1022] = b'\r';
    line[1023] = b'\n';
    line
};
const FLOOD_CHUNK_BYTES: u64 = 64 << 10;
