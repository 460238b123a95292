//! The imports that a grant names, matched against a component's as the host links them.

use std::collections::BTreeSet;

use witgate_host_hook::import_name::track;

/// A set of import patterns: exact names, whole packages, one track of a package.
///
/// ```text
/// wasi:io/poll@0.2.3   this interface on its semver-compatible track
/// wasi:io/*@0.2        every interface of the package on one track
/// wasi:cli/*           every interface of the package in every version
/// ```
pub(super) struct ImportPatterns {
    names: BTreeSet<String>,
    tracks: BTreeSet<String>,
}

impl ImportPatterns {
    /// Patterns that break the grammar cover nothing.
    pub fn new(patterns: &[String]) -> Self {
        let good = || patterns.iter().filter(|pattern| is_pattern(pattern));
        Self { names: good().cloned().collect(), tracks: good().map(|pattern| track(pattern)).collect() }
    }

    /// Whether the host may link `import`; for exact names what [`witgate_host_hook::import_name::covers`] says.
    pub fn cover(&self, import: &str) -> bool {
        let import_track = track(import);
        self.names.contains(import) || self.tracks.contains(&import_track) || self.cover_package(&import_track)
    }

    fn cover_package(&self, import_track: &str) -> bool {
        let (base, version) = match import_track.split_once('@') {
            Some((base, version)) => (base, Some(version)),
            None => (import_track, None),
        };
        let Some((package, _)) = base.rsplit_once('/') else { return false };
        self.names.contains(&format!("{package}/*"))
            || version.is_some_and(|version| self.tracks.contains(&format!("{package}/*@{version}")))
    }
}

/// Whether a text is a pattern: `*` stands only where the interface does, behind a package.
pub(super) fn is_pattern(text: &str) -> bool {
    let graphic = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    let (base, version) = match text.split_once('@') {
        Some((base, version)) => (base, Some(version)),
        None => (text, None),
    };
    let folder = base.strip_suffix("/*");
    graphic(text)
        && text.len() <= MAX_PATTERN_BYTES
        && version.is_none_or(|version| graphic(version) && !version.contains(['*', '@', '/']))
        && !folder.unwrap_or(base).contains('*')
        && folder.is_none_or(|package| package.split_once(':').is_some_and(|(ns, name)| graphic(ns) && graphic(name)))
}

/// The longest import name that is compared, in bytes.
const MAX_PATTERN_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use witgate_host_hook::import_name::covers;

    use super::*;

    fn cover(pattern: &str, import: &str) -> bool {
        ImportPatterns::new(&[pattern.to_owned()]).cover(import)
    }

    #[test]
    fn packages_and_tracks() {
        for (pattern, import) in [
            ("wasi:io/*", "wasi:io/poll@0.2.3"),
            ("wasi:io/*", "wasi:io/poll@0.3.0"),
            ("wasi:io/*", "wasi:io/poll"),
            ("wasi:io/*@0.2", "wasi:io/poll@0.2.12"),
            ("wasi:io/*@0.2.0", "wasi:io/poll@0.2.12"),
            ("a:b/*@1", "a:b/c@1.4.0"),
            ("wasi:config/*@0.2.0-rc.1", "wasi:config/store@0.2.0-rc.1"),
            ("run", "run"),
        ] {
            assert!(cover(pattern, import), "`{pattern}` left `{import}` out");
        }
        for (pattern, import) in [
            ("wasi:io/*@0.2", "wasi:io/poll@0.3.0"),
            ("wasi:io/*@0.2", "wasi:io/poll"),
            ("wasi:io/*@0.2", "wasi:io/poll@0.2.0-rc.1"),
            ("wasi:io/*", "wasi:io-evil/poll@0.2.0"),
            ("wasi:io/*", "wasi:iox"),
            ("wasi:io/*", "evil:wasi:io/poll"),
            ("wasi:*", "wasi:io/poll"),
            ("*", "run"),
            ("*", "*"),
            ("wasi:io/po*", "wasi:io/poll"),
            ("run", "runner"),
            ("wasi:io/poll", "wasi:io/poll@0.2.0"),
        ] {
            assert!(!cover(pattern, import), "`{pattern}` took `{import}`");
        }
    }

    proptest! {
        #[test]
        fn an_exact_name_covers_what_the_host_links(
            granted in "[ab]:[ab]/[ab](@[012]\\.[012]\\.[012](-rc)?)?",
            import in "[ab]:[ab]/[ab](@[012]\\.[012]\\.[012](-rc)?)?",
        ) {
            prop_assert_eq!(cover(&granted, &import), covers(&granted, &import));
        }
    }
}
