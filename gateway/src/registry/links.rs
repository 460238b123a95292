//! Where the next page of a list is.

use std::collections::BTreeSet;

use url::Url;

use super::fault::Fault;

/// The next page's URL (RFC 8288): of the same origin and path, so that a registry cannot send us anywhere else.
pub(super) fn next_page(links: &[String], url: &Url, first: &Url) -> Result<Option<Url>, Fault> {
    let mut targets = BTreeSet::new();
    for line in links {
        let mut rest = line.trim();
        while !rest.is_empty() {
            let (target, behind) =
                rest.strip_prefix('<').and_then(|link| link.split_once('>')).ok_or(Fault::LinkRefused)?;
            let (parameters, further) = behind.split_once(',').unwrap_or((behind, ""));
            let is_next = |parameter: &str| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
            };
            if parameters.split(';').any(is_next) {
                targets.insert(target);
            }
            rest = further.trim_start();
        }
    }
    let target = match targets.len() {
        0 => return Ok(None),
        1 => targets.first().expect("one was counted"),
        _ => return Err(Fault::LinkRefused),
    };
    let next = url.join(target).map_err(|_| Fault::LinkRefused)?;
    let stays = next.origin() == first.origin()
        && next.path() == first.path()
        && next.username().is_empty()
        && next.password().is_none();
    if stays { Ok(Some(next)) } else { Err(Fault::LinkRefused) }
}
