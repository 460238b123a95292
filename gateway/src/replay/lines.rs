//! Recorded decisions as lines of JSON, for who has no log at hand.

use std::io::{BufRead, Read as _};

use tokio::sync::mpsc;

use super::stored::Stored;
use crate::audit::{MAX_BODY_BYTES, MAX_PAGE_BYTES, MAX_PAGE_DECISIONS};

/// Reads every line of `input` and sends them on in pages; blocks.
///
/// # Errors
/// What reading said. A receiver that is gone ends it without one: whoever closed it knows why.
pub(super) fn feed(mut input: impl BufRead, pages: &mpsc::Sender<Vec<Stored>>) -> std::io::Result<()> {
    let (mut page, mut page_bytes) = (Vec::new(), 0);
    for number in 1.. {
        let Some(line) = next_line(&mut input, MAX_LINE_BYTES)? else { break };
        let stored = match line {
            Line::Whole(bytes) if bytes.trim_ascii().is_empty() => continue,
            Line::Whole(bytes) => Stored::Line { number, bytes },
            Line::Long => Stored::LongLine { number },
        };
        page_bytes += if let Stored::Line { bytes, .. } = &stored { bytes.len() as u64 } else { 0 };
        page.push(stored);
        if page.len() >= MAX_PAGE_DECISIONS as usize || page_bytes >= MAX_PAGE_BYTES {
            if pages.blocking_send(std::mem::take(&mut page)).is_err() {
                return Ok(());
            }
            page_bytes = 0;
        }
    }
    if !page.is_empty() {
        let _ = pages.blocking_send(page);
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole(Vec<u8>),
    /// Longer than the limit: passed over up to its end.
    Long,
}

fn next_line(input: &mut impl BufRead, limit_bytes: usize) -> std::io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    // One byte past the limit, and the line feed, tell a long line from one that fits.
    input.by_ref().take(limit_bytes as u64 + 1).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        return Ok(Some(Line::Whole(bytes)));
    }
    if bytes.len() <= limit_bytes {
        return Ok(Some(Line::Whole(bytes)));
    }
    input.skip_until(b'\n')?;
    Ok(Some(Line::Long))
}

/// The longest line that is read, in bytes: the largest body of the log.
pub const MAX_LINE_BYTES: usize = MAX_BODY_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, limit_bytes: usize) -> Vec<Line> {
        let mut input = std::io::BufReader::with_capacity(3, text.as_bytes());
        std::iter::from_fn(|| next_line(&mut input, limit_bytes).unwrap()).collect()
    }

    #[test]
    fn lines_end_at_their_limit_and_the_next_is_read_all_the_same() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        assert_eq!(lines("", 4), []);
        assert_eq!(lines("abcd\nab", 4), [whole("abcd"), whole("ab")]);
        assert_eq!(lines("abcde\nab\n\nabcd", 4), [Line::Long, whole("ab"), whole(""), whole("abcd")]);
        assert_eq!(lines("abcdefghijk", 4), [Line::Long]);
    }

    #[test]
    fn pages_hold_no_more_than_their_limits_and_empty_lines_are_no_records() {
        let text = "{}\n\n".repeat(MAX_PAGE_DECISIONS as usize + 1);
        let (pages, mut received) = mpsc::channel(8);
        feed(text.as_bytes(), &pages).unwrap();
        drop(pages);
        let sizes: Vec<_> = std::iter::from_fn(|| received.blocking_recv()).map(|page| page.len()).collect();
        assert_eq!(sizes, [MAX_PAGE_DECISIONS as usize, 1]);
    }
}
