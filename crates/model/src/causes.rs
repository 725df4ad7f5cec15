//! What is behind an error of a library.

use std::error::Error;

/// The error and its causes, outermost first, with those that an `io::Error` holds, which are not its sources.
#[must_use]
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let (mut found, mut next) = (Vec::new(), Some(error));
    while let Some(cause) = next {
        found.push(cause);
        let held = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match held {
            Some(held) => Some(held),
            None => cause.source(),
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_an_io_error_holds_is_among_its_causes() {
        let inner = io::Error::new(io::ErrorKind::BrokenPipe, "the pipe broke");
        let outer = io::Error::other(inner);
        let said: Vec<String> = causes(&outer).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["the pipe broke", "the pipe broke", "the pipe broke"],
            "it, what it holds, and its text"
        );
    }
}
