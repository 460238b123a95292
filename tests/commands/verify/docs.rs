//! Every command of docs/verify.md, run in order; what it says is compared with what stands there.

use witgate::dev::sigstore::{Knob, Log};

use super::*;
