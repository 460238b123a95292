//! An interface's name in its parts.

/// `wasi:sockets/tcp@0.2.3` in its parts (Component Model, Explainer.md, `interfacename`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InterfaceName<'a> {
    /// `wasi:sockets`.
    pub(super) package: &'a str,
    /// `tcp`.
    pub(super) interface: &'a str,
    /// `0.2.3`.
    pub(super) version: Option<&'a str>,
}

impl<'a> InterfaceName<'a> {
    /// `None` for every other name that an import may have: `run`, `[constructor]counter`, `url=<…>`, `unlocked-dep=<…>`.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let (path, version) = match name.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (name, None),
        };
        let (package, interface) = path.split_once('/')?;
        let (namespace, own) = package.split_once(':')?;
        let label = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let version_chars = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+'))
        };
        ([namespace, own, interface].into_iter().all(label) && version.is_none_or(version_chars)).then_some(Self {
            package,
            interface,
            version,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_interface_names_apart() {
        let parts = |name| InterfaceName::parse(name).map(|name| (name.package, name.interface, name.version));
        assert_eq!(parts("wasi:sockets/tcp@0.2.3"), Some(("wasi:sockets", "tcp", Some("0.2.3"))));
        assert_eq!(parts("wasi:config/store@0.2.0-rc.1"), Some(("wasi:config", "store", Some("0.2.0-rc.1"))));
        assert_eq!(parts("acme:calc/plain"), Some(("acme:calc", "plain", None)));
    }

    #[test]
    fn other_names_have_no_parts() {
        for name in [
            "",
            "run",
            "[constructor]counter",
            "a:b",
            "a/b",
            "a:b/c/d",
            "a:b:c/d",
            "a:b/c@",
            "a:/c",
            ":b/c",
            "a:b/",
            "url=<https://a:1/b@2>",
            "unlocked-dep=<a:b@{>=1.0.0}>",
            "a:b/c@1@2",
        ] {
            assert_eq!(InterfaceName::parse(name), None, "`{name}` was taken");
        }
    }

    proptest! {
        #[test]
        fn the_parts_put_together_are_the_name(name in "[a-z:/@0-9.-]{0,24}") {
            if let Some(parts) = InterfaceName::parse(&name) {
                let version = parts.version.map(|version| format!("@{version}")).unwrap_or_default();
                prop_assert_eq!(format!("{}/{}{version}", parts.package, parts.interface), name);
            }
        }
    }
}
