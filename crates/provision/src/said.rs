//! What programs on a host say where something keeps them from it.

/// sudo's words, and the kernel's.
pub(crate) const FORBIDDEN: [&str; 5] = [
    "Operation not permitted",
    "Permission denied",
    "password is required",
    "is not allowed to execute",
    "is not in the sudoers file",
];
pub(crate) const NO_SPACE: [&str; 3] =
    ["No space left on device", "quota exceeded", "You don't have enough free space"];
