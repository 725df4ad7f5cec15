//! Exit codes, documented in the README. What they mean is decided in `model`, for every face alike.

use std::process::ExitCode;

pub use lockgate_model::Exit;

pub fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit.code())
}
