//! The credential helper that docker, containerd, skopeo and wash run as `docker-credential-witgate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    witgate::credential::main()
}
