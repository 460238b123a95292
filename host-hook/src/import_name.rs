//! Import names compared as wasmtime links them: by semver-compatible track, not as strings.

use semver::Version;

/// The name wasmtime's linker looks an import up by when the exact version is not there: `wasi:io/poll@0.2.3` is
/// `wasi:io/poll@0.2`, `a:b/c@1.4.0` is `a:b/c@1`; names without a version, with a pre-release or below 0.1 stay as they are.
///
/// Source: wasmtime 48 `crates/environ/src/component/names.rs`, `alternate_lookup_key`.
pub fn track(name: &str) -> String {
    let Some((base, version)) = name.split_once('@') else { return name.to_owned() };
    match Version::parse(version) {
        Ok(version) if !version.pre.is_empty() => name.to_owned(),
        Ok(version) if version.major != 0 => format!("{base}@{}", version.major),
        Ok(version) if version.minor != 0 => format!("{base}@0.{}", version.minor),
        _ => name.to_owned(),
    }
}

/// Whether a grant of `granted` lets the linker satisfy an import of `import`.
pub fn covers(granted: &str, import: &str) -> bool {
    granted == import || track(granted) == track(import)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_are_wasmtimes() {
        for (name, expected) in [
            ("wasi:io/poll@0.2.3", "wasi:io/poll@0.2"),
            ("wasi:io/poll@0.2.12", "wasi:io/poll@0.2"),
            ("wasi:io/poll@0.3.0", "wasi:io/poll@0.3"),
            ("a:b/c@1.4.0", "a:b/c@1"),
            ("a:b/c@0.0.1", "a:b/c@0.0.1"),
            ("wasi:config/store@0.2.0-rc.1", "wasi:config/store@0.2.0-rc.1"),
            ("a:b/c", "a:b/c"),
            ("run", "run"),
            ("a:b/c@0.2", "a:b/c@0.2"),
            ("a:b/c@nonsense", "a:b/c@nonsense"),
        ] {
            assert_eq!(track(name), expected);
        }
    }

    #[test]
    fn a_grant_covers_its_track_only() {
        assert!(covers("wasi:io/poll@0.2.0", "wasi:io/poll@0.2.12"));
        assert!(covers("wasi:io/poll@0.2", "wasi:io/poll@0.2.12"));
        assert!(!covers("wasi:io/poll@0.2.0", "wasi:io/poll@0.3.0"));
        assert!(!covers("wasi:io/poll", "wasi:io/poll@0.2.0"));
        assert!(!covers("wasi:config/store@0.2.0", "wasi:config/store@0.2.0-rc.1"));
        assert!(!covers("a:b/c@0.0.1", "a:b/c@0.0.2"));
    }
}
