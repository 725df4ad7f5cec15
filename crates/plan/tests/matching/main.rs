//! A found plan against this configuration: which runs may go forward, and by what the others go back.

mod every;
mod fixture;
mod forged;
mod hosts;
mod rejected;
