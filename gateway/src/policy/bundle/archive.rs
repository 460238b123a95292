//! The archive of a bundle: a gzipped tar file, read into memory and written always the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};

use super::super::LoadError;
use super::fault::BundleFault;

/// The files of a bundle by their names inside, joined by `/`.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Reads `bytes` to their very end.
pub(super) fn unpack(bytes: &[u8]) -> Result<Files, LoadError> {
    if bytes.len() > MAX_PACKED_BYTES {
        return Err(limit("size of the archive in bytes", bytes.len(), MAX_PACKED_BYTES));
    }
    if !bytes.starts_with(GZIP) {
        return Err(archive("a gzipped tar file", "other bytes"));
    }
    let mut unpacked = Bounded { reader: GzDecoder::new(bytes), left: MAX_UNPACKED_BYTES, is_exhausted: false };
    let files = entries(&mut unpacked);
    if unpacked.is_exhausted {
        return Err(too_large(MAX_UNPACKED_BYTES + 1));
    }
    let files = files?;
    match unpacked.reader.into_inner() {
        [] => Ok(files),
        rest => Err(archive("nothing behind the gzipped tar file", format!("{} bytes", rest.len()))),
    }
}

fn entries(reader: &mut Bounded<GzDecoder<&[u8]>>) -> Result<Files, LoadError> {
    let (mut files, mut names) = (Files::new(), BTreeSet::new());
    let mut tar = tar::Archive::new(&mut *reader);
    // Raw: an extension that gives the next entry another name or size is an entry here, and no plain file.
    for (index, entry) in tar.entries().map_err(|error| unreadable(&error))?.raw(true).enumerate() {
        let mut entry = entry.map_err(|error| unreadable(&error))?;
        if index == MAX_ENTRIES {
            return Err(limit("number of entries in the archive", MAX_ENTRIES + 1, MAX_ENTRIES));
        }
        let kind = entry.header().entry_type();
        let name = entry.path_bytes().into_owned();
        let name = if kind.is_dir() { folder_name(&name)? } else { file_name(&name)? };
        if !kind.is_file() && !kind.is_dir() {
            return Err(BundleFault::Kind { name }.into());
        }
        if !names.insert(name.clone()) {
            return Err(BundleFault::Twice { name }.into());
        }
        if kind.is_file() {
            let size_bytes = entry.size();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
            if bytes.len() as u64 != size_bytes {
                return Err(archive("a whole tar file", format!("`{name}` cut short")));
            }
            files.insert(name, bytes);
        }
    }
    nothing_but_zeros(reader)?;
    Ok(files)
}

/// Behind the last entry a tar file has zeros to its end; anything else is a second archive, or hidden.
fn nothing_but_zeros(reader: &mut impl Read) -> Result<(), LoadError> {
    let mut buffer = [0; 8192];
    loop {
        match reader.read(&mut buffer).map_err(|error| unreadable(&error))? {
            0 => return Ok(()),
            count if buffer[..count].iter().all(|byte| *byte == 0) => {}
            _ => return Err(archive("zeros behind the last entry", "something else")),
        }
    }
}

fn folder_name(name: &[u8]) -> Result<String, LoadError> {
    match name {
        b"." | b"./" | b"/" => Ok(String::new()),
        name => file_name(name.strip_suffix(b"/").unwrap_or(name)),
    }
}

/// A name as bundles write it: `opa build` puts one `/` in front, `tar -C DIR .` puts `./`.
fn file_name(name: &[u8]) -> Result<String, LoadError> {
    let shown: String = String::from_utf8_lossy(name).chars().take(MAX_NAME_BYTES).collect();
    let fault = |found| LoadError::from(BundleFault::Name { name: shown.escape_debug().to_string(), found });
    let name = std::str::from_utf8(name).map_err(|_| fault("no UTF-8"))?;
    if name.len() > MAX_NAME_BYTES {
        return Err(fault("more than 255 bytes"));
    }
    let inside = name.strip_prefix("./").or_else(|| name.strip_prefix('/')).unwrap_or(name);
    check_name(inside).map_err(fault)?;
    Ok(inside.to_owned())
}

/// Whether `name` leads to one place inside the bundle, however it is read.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return Err("a control character or a backslash");
    }
    if name.split('/').count() > MAX_DEPTH {
        return Err("more than 16 folders");
    }
    for part in name.split('/') {
        match part {
            "" => return Err("an absolute name or an empty part"),
            "." | ".." => return Err("a part `.` or `..`"),
            _ => {}
        }
    }
    match name.rsplit_once('/') {
        None if matches!(name, MANIFEST | SIGNATURES) => Ok(()),
        _ if name.split('/').any(|part| part.starts_with('.')) => Err("a hidden file or folder"),
        _ => Ok(()),
    }
}

/// Writes `files` as an archive: the same files are the same bytes, wherever and whenever.
pub(super) fn pack(files: &Files) -> Result<Vec<u8>, LoadError> {
    let failed = |error: io::Error| unreadable(&error);
    check_amount(files)?;
    let gzip = GzBuilder::new().mtime(0).operating_system(UNKNOWN_SYSTEM).write(Vec::new(), Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for (name, bytes) in files {
        check_name(name).map_err(|found| BundleFault::Name { name: name.clone(), found })?;
        let mut header = tar::Header::new_ustar();
        // Longer ones need an extension, which we do not read.
        let too_long = |_| BundleFault::Name { name: name.clone(), found: "one that is too long for a tar file" };
        header.set_path(name).map_err(too_long)?;
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, bytes.as_slice()).map_err(failed)?;
    }
    let bytes = tar.into_inner().and_then(flate2::write::GzEncoder::finish).map_err(failed)?;
    match bytes.len() {
        size_bytes if size_bytes > MAX_PACKED_BYTES => {
            Err(limit("size of the archive in bytes", size_bytes, MAX_PACKED_BYTES))
        }
        _ => Ok(bytes),
    }
}

/// Whether files that come from elsewhere than an archive would fit into one.
pub(super) fn check_amount(files: &Files) -> Result<(), LoadError> {
    if files.len() > MAX_ENTRIES {
        return Err(limit("number of files in the bundle", files.len(), MAX_ENTRIES));
    }
    match files.values().map(Vec::len).sum::<usize>() {
        total if total > MAX_UNPACKED_BYTES => Err(too_large(total)),
        _ => Ok(()),
    }
}

/// A reader that gives up past a number of bytes.
struct Bounded<R> {
    reader: R,
    left: usize,
    is_exhausted: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        match self.left.checked_sub(count) {
            Some(left) => self.left = left,
            None => {
                self.is_exhausted = true;
                return Err(io::Error::other("past the limit"));
            }
        }
        Ok(count)
    }
}

fn archive(expected: &'static str, found: impl Into<String>) -> LoadError {
    BundleFault::Archive { expected, found: found.into() }.into()
}

fn unreadable(error: &io::Error) -> LoadError {
    archive("a gzipped tar file that can be read", format!("a fault: {error}"))
}

fn limit(what: &str, found: usize, limit: usize) -> LoadError {
    LoadError::Limit { what: what.into(), found, limit }
}

fn too_large(found: usize) -> LoadError {
    limit("size of all files of the bundle in bytes", found, MAX_UNPACKED_BYTES)
}

/// The file that says what a bundle is.
pub(super) const MANIFEST: &str = ".manifest";
/// The file with its signature.
pub(super) const SIGNATURES: &str = ".signatures.json";
/// One archive, in bytes; the shipped policies take 30 KiB.
pub const MAX_PACKED_BYTES: usize = 8 << 20;
/// Everything in it, with the headers of the tar file, in bytes.
pub(super) const MAX_UNPACKED_BYTES: usize = 32 << 20;
/// Files and folders in it.
pub(super) const MAX_ENTRIES: usize = 512;
/// The longest name, in bytes: what a tar header holds.
const MAX_NAME_BYTES: usize = 255;
/// Parts of a name.
pub(super) const MAX_DEPTH: usize = 16;
/// RFC 1952, 2.3.1.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// "Unknown" in the header of gzip, so that the bytes do not tell where they were made.
const UNKNOWN_SYSTEM: u8 = 255;

#[cfg(test)]
mod tests {
    use tar::EntryType;

    use super::*;

    /// An archive of entries whose headers say anything.
    fn tar_of(entries: &[(&[u8], EntryType, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, kind, bytes) in entries {
            let mut header = tar::Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.extend(header.as_bytes());
            tar.extend(*bytes);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.resize(tar.len() + 1024, 0);
        tar
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
        io::Write::write_all(&mut gzip, bytes).unwrap();
        gzip.finish().unwrap()
    }

    fn files(entries: &[(&[u8], EntryType, &[u8])]) -> Result<Vec<String>, LoadError> {
        unpack(&gzip(&tar_of(entries))).map(|files| files.into_keys().collect())
    }

    #[test]
    fn what_is_packed_is_unpacked_and_always_the_same() {
        let files = Files::from([
            (MANIFEST.to_owned(), b"{}".to_vec()),
            ("a/b.rego".to_owned(), b"package a".to_vec()),
            ("data.json".to_owned(), vec![b' '; 2000]),
        ]);
        let packed = pack(&files).unwrap();
        assert_eq!(unpack(&packed).unwrap(), files);
        assert_eq!(pack(&files).unwrap(), packed);
    }

    #[test]
    fn names_as_opa_and_tar_write_them_are_one_name() {
        let file = EntryType::Regular;
        let folder = EntryType::Directory;
        assert_eq!(files(&[(b"/a.rego", file, b""), (b"b.rego", file, b"")]).unwrap(), ["a.rego", "b.rego"]);
        let with_dots: &[(&[u8], EntryType, &[u8])] =
            &[(b"./", folder, b""), (b"./x/", folder, b""), (b"./x/a.rego", file, b"")];
        assert_eq!(files(with_dots).unwrap(), ["x/a.rego"]);
    }

    #[test]
    fn a18_3_names_that_lead_out_are_refused() {
        for name in [
            b"../a.rego" as &[u8],
            b"a/../../b.rego",
            b"/../a.rego",
            b"//etc/a.rego",
            b"a//b.rego",
            b"./../a.rego",
            b"././a.rego",
            b"a/./b.rego",
            b"..",
            b"",
            b"/",
            b"a\\..\\b.rego",
            b"a\nb.rego",
            b"a\xff.rego",
            b".hidden.rego",
            b"x/.manifest",
            b".git/a.rego",
        ] {
            let fault = files(&[(name, EntryType::Regular, b"")]).unwrap_err();
            let known = matches!(fault, LoadError::Bundle(BundleFault::Name { .. }));
            assert!(known, "`{}` gave {fault}", name.escape_ascii());
        }
        assert!(files(&[(b"../x/", EntryType::Directory, b"")]).is_err());
    }

    #[test]
    fn a18_3_links_and_odd_kinds_are_refused() {
        for kind in [
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Char,
            EntryType::Block,
            EntryType::Fifo,
            EntryType::Continuous,
            EntryType::GNULongName,
            EntryType::GNULongLink,
            EntryType::GNUSparse,
            EntryType::XHeader,
            EntryType::XGlobalHeader,
        ] {
            let fault = files(&[(b"a.rego", kind, b"")]).unwrap_err();
            assert!(matches!(fault, LoadError::Bundle(BundleFault::Kind { .. })), "{kind:?} gave {fault}");
        }
    }

    #[test]
    fn one_name_stands_once() {
        let file = EntryType::Regular;
        for other in [b"a.rego" as &[u8], b"/a.rego", b"./a.rego"] {
            let fault = files(&[(b"a.rego", file, b""), (other, file, b"")]).unwrap_err();
            assert_eq!(fault.to_string(), "`a.rego`: expected one entry of this name, found two");
        }
    }

    #[test]
    fn refuses_archives_past_their_limits() {
        let names: Vec<_> = (0..=MAX_ENTRIES).map(|index| format!("{index}.txt")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_bytes(), EntryType::Regular, b"" as &[u8])).collect();
        assert_eq!(files(&many[1..]).unwrap().len(), MAX_ENTRIES);
        let of = |error: LoadError| match error {
            LoadError::Limit { limit, .. } => limit,
            other => panic!("{other}"),
        };
        assert_eq!(of(files(&many).unwrap_err()), MAX_ENTRIES);
        // 512 of header, 1024 of zeros at the end.
        let fitting = vec![0; MAX_UNPACKED_BYTES - 1536];
        assert!(files(&[(b"a.txt", EntryType::Regular, &fitting)]).is_ok());
        let bomb = vec![0; MAX_UNPACKED_BYTES - 1535];
        assert_eq!(of(files(&[(b"a.txt", EntryType::Regular, &bomb)]).unwrap_err()), MAX_UNPACKED_BYTES);
        assert_eq!(of(unpack(&vec![0x1f; MAX_PACKED_BYTES + 1]).unwrap_err()), MAX_PACKED_BYTES);
        let deep = ["x"; MAX_DEPTH].join("/");
        assert!(files(&[(deep.as_bytes(), EntryType::Regular, b"")]).is_ok());
        assert!(files(&[(format!("x/{deep}").as_bytes(), EntryType::Regular, b"")]).is_err());
        let longest = "x".repeat(MAX_NAME_BYTES);
        assert!(file_name(longest.as_bytes()).is_ok() && file_name(format!("x{longest}").as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_whole_archive_is_refused() {
        let whole = tar_of(&[(b"a.rego", EntryType::Regular, &[b'x'; 700])]);
        assert!(unpack(&gzip(&whole)).is_ok());
        let packed = gzip(&whole);
        let mut hidden = whole.clone();
        *hidden.last_mut().unwrap() = 1;
        for bytes in [
            whole.clone(),
            b"PK\x03\x04".to_vec(),
            packed[..packed.len() - 1].to_vec(),
            [packed.clone(), packed.clone()].concat(),
            [packed.clone(), vec![0]].concat(),
            gzip(&whole[..1000]),
            gzip(&hidden),
            Vec::new(),
        ] {
            let fault = unpack(&bytes).unwrap_err();
            assert!(matches!(fault, LoadError::Bundle(BundleFault::Archive { .. })), "{fault}");
        }
        for cut in 0..packed.len() {
            assert!(unpack(&packed[..cut]).is_err(), "{cut} bytes were taken");
        }
    }
}
